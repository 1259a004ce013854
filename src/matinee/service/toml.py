"""`matinee.toml`: read against the declarations of the settings, and written from them."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from matinee.errors import MatineeError
from matinee.lake.importers.columns import Mapping as ImportMapping
from matinee.lake.importers.columns import nearest
from matinee.service.duration import Duration
from matinee.service.settings import Settings

FILE = "matinee.toml"
_TABLE = re.compile(r"\s*\[\[?\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_ENTRY = re.compile(
    r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")

Keys = tuple[str, ...]
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Mistake(NamedTuple):
    """What is wrong with one key of the file, and what to write instead."""

    keys: Keys
    why: str
    instead: str


def read_settings(path: Path) -> Settings:
    """The settings in the file `path`.

    Raises `MatineeError` that names the file, the line and the key of each mistake, and what to
    write instead.
    """
    text = _text(path)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MatineeError(
            f"{path} is not TOML", why=str(error), next_step='write lines such as name = "value"'
        ) from error
    mistakes = list(_mistakes(raw, Settings, ()))
    if mistakes:
        raise _told(path, text, mistakes)
    return msgspec.convert(raw, Settings, dec_hook=_decode)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise MatineeError(
            f"{path}, line {line} is not UTF-8", next_step="save the file as UTF-8"
        ) from error
    except OSError as error:
        raise MatineeError(f"cannot read {path}", why=error.strerror or str(error)) from error


def _decode(kind: type, value: Any) -> Any:
    if kind is Duration:
        if not isinstance(value, str):
            raise ValueError(f'{value!r} is no duration: write it as text, as in "30m"')
        return Duration(value)
    raise NotImplementedError


def _mistakes(value: Any, kind: Any, keys: Keys) -> Iterator[Mistake]:
    """Every mistake in `value`, which should be of type `kind` and stands at `keys`."""
    if _is_struct(kind):
        yield from _table_mistakes(value, kind, keys)
    elif get_origin(_bare(kind)) is dict and isinstance(value, dict):
        for name, entry in value.items():
            yield from _mistakes(entry, get_args(_bare(kind))[1], (*keys, name))
    else:
        try:
            msgspec.convert(value, kind, dec_hook=_decode)
        except msgspec.ValidationError as error:
            yield Mistake(keys, str(error).split(" - at `")[0], "")


def _table_mistakes(value: Any, kind: type[msgspec.Struct], keys: Keys) -> Iterator[Mistake]:
    if not isinstance(value, dict):
        yield Mistake(keys, f"{keys[-1]} is a table", f"[{'.'.join(keys)}]")
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, entry in value.items():
        if name not in fields:
            yield Mistake((*keys, name), "unknown key: " + nearest(name, list(fields)), "")
            continue
        for mistake in _mistakes(entry, _hints(kind)[fields[name].name], (*keys, name)):
            default = fields[name].default
            plain = mistake.keys == (*keys, name) and not mistake.instead
            known = plain and default is not msgspec.NODEFAULT
            yield mistake._replace(instead=f"{name} = {_toml(default)}") if known else mistake
    for name, field in fields.items():
        if field.required and name not in value:
            yield Mistake(keys, f"{name} is missing", f"{name} = ...")


def _told(path: Path, text: str, mistakes: list[Mistake]) -> MatineeError:
    lines = _lines(text)
    numbered = sorted((_line_of(mistake.keys, lines), mistake) for mistake in mistakes)
    sentences = [
        f"line {line}, {'.'.join(mistake.keys)}: {mistake.why}"
        + (f"; write for example {mistake.instead}" if mistake.instead else "")
        for line, mistake in numbered
    ]
    count = "a mistake" if len(sentences) == 1 else f"{len(sentences)} mistakes"
    return MatineeError(
        f"{path} has {count}", why="\n".join(sentences), next_step=f"edit line {numbered[0][0]}"
    )


def _line_of(keys: Keys, lines: dict[Keys, int]) -> int:
    """The line of `keys`, or of what they stand in."""
    while keys and keys not in lines:
        keys = keys[:-1]
    return lines.get(keys, 1)


def _lines(text: str) -> dict[Keys, int]:
    """The line, from 1, on which each table and key of a TOML text begins."""
    found: dict[Keys, int] = {}
    table: Keys = ()
    for number, line in enumerate(text.splitlines(), 1):
        if head := _TABLE.match(line):
            table = _parts(head[1])
            found.setdefault(table, number)
        elif entry := _ENTRY.match(line):
            found.setdefault(table + _parts(entry[1]), number)
    return found


def _parts(dotted: str) -> Keys:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def written(changed: Mapping[str, Any] = NOTHING, settings: type[msgspec.Struct] = Settings) -> str:
    """A file that says every default in a comment: ``#`` directly before the setting.

    What is `changed` (``{"service.name": "Shows"}``) is in force.
    """
    introduction = _comment(
        "Settings of this Matinee service. Each stands here with its default: take away the # "
        "before it and change it. Durations are a number and s, m, h, d or w, as in 30m."
    )
    return introduction + "".join(_sections(settings, (), changed)) + _import_section()


def _sections(kind: type[msgspec.Struct], keys: Keys, changed: Mapping[str, Any]) -> Iterator[str]:
    hints = _hints(kind)
    plain = [f for f in msgspec.structs.fields(kind) if not _is_table(hints[f.name])]
    if plain:
        yield f"\n{_comment(kind.__doc__ or '')}[{'.'.join(keys)}]\n"
    for field in plain:
        yield _comment(_description(hints[field.name]))
        dotted = ".".join((*keys, field.encode_name))
        if dotted in changed:
            yield f"{field.encode_name} = {_toml(changed[dotted])}\n"
        else:
            yield f"#{field.encode_name} = {_toml(_default(field))}\n"
    for field in msgspec.structs.fields(kind):
        dotted = ".".join((*keys, field.encode_name))
        if _is_struct(hints[field.name]):
            yield from _sections(hints[field.name], (*keys, field.encode_name), changed)
        elif isinstance(table := changed.get(dotted), Mapping):
            lines = (f"{json.dumps(key)} = {_toml(value)}\n" for key, value in table.items())
            yield f"\n[{dotted}]\n" + "".join(lines)


def _comment(text: str) -> str:
    return textwrap.indent(textwrap.fill(text, 96), "# ") + "\n"


def _default(field: msgspec.structs.FieldInfo) -> Any:
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()


def _toml(value: Any) -> str:
    """A value as TOML. For text, numbers and lists of them JSON says the same."""
    if isinstance(value, Mapping):
        return (
            f"{{ {', '.join(f'{json.dumps(key)} = {_toml(one)}' for key, one in value.items())} }}"
        )
    return json.dumps(value, default=str, ensure_ascii=False)


def _hints(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _bare(kind: Any) -> Any:
    return kind.__origin__ if hasattr(kind, "__metadata__") else kind


def _description(kind: Any) -> str:
    metas = [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, Meta)]
    return next(meta.description for meta in metas if meta.description)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_table(kind: Any) -> bool:
    return _is_struct(kind) or get_origin(_bare(kind)) is dict


EXAMPLE = """\
[import.plays]
file = "exports/plays-*.csv"
table = "events"
columns = { member_id = "user", title_id = "video", ts = "started", value = "minutes" }
constants = { kind = "play" }
time_format = "ms"
"""
"""A mapping as it may stand in the file."""


def _import_section() -> str:
    keys = [
        f"{field.encode_name}: {_description(_hints(ImportMapping)[field.name])}"
        for field in msgspec.structs.fields(ImportMapping)
    ]
    return (
        "\n"
        + _comment("Files of your own, read by `matinee import NAME`. For example")
        + "#\n"
        + textwrap.indent(EXAMPLE, "#     ")
        + "#\n"
        + "".join(map(_comment, keys))
    )
