"""Why an attempt did not bring the money: raw signals read as one of our own words.

Processors pass on up to four signals: field 39 of ISO 8583, the scheme's category of it, the
merchant advice code, and a code of their own. All stay on record as they came; the mapping only
adds a word, and its own version. It is a table, ``reasons.csv``, each row with its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

import msgspec
from msgspec import Meta

from matinee.errors import MatineeError
from matinee.lake.billing import Attempt, Code
from matinee.payments.csv_rows import read_rows

Kind = Literal["hard", "technical", "soft"]
"""**hard**: never again with this instrument; **technical**: try at once elsewhere; **soft**: it
may go another time.
"""
Field = Literal["advice", "category", "code", "processor_code"]

FIELDS: tuple[Field, ...] = get_args(Field)
"""The signals, the most specific first."""
UNKNOWN = "unknown"
UNREACHED = "processor_error"


class Signal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of the mapping: a value of a signal, and the word that it is read as.

    A `weak` one says little: it counts only where no other signal says more.
    """

    field: Annotated[Field, Meta(description="which signal")]
    value: Annotated[Code, Meta(description="its value, raw")]
    reason: Annotated[Code, Meta(description="our word")]
    kind: Annotated[Kind, Meta(description="what the word means")] | None = None
    weak: Annotated[bool, Meta(description="whether others go first")] = False
    source: Annotated[str, Meta(min_length=1, max_length=500, description="who says so")]


@dataclass(frozen=True)
class Reasons:
    """A mapping from signals to words, and what each word means.

    >>> reasons = Reasons.built_in()
    >>> reasons.word(code="51"), reasons.word(code="05", processor_code="expired_card")
    ('insufficient_funds', 'expired_card')
    >>> reasons.word(code="51", advice="03"), reasons.kind("never_approved")
    ('never_approved', 'hard')
    >>> reasons.word(code="Z9"), reasons.kind("unknown")
    ('unknown', 'soft')
    """

    signals: Mapping[tuple[str, str], Signal] = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)

    @classmethod
    def built_in(cls) -> Reasons:
        """Those of ``reasons.csv``."""
        return _built_in()

    @classmethod
    def read(cls, path: str | Path) -> Reasons:
        """The built-in ones with the rows of a CSV file on top.

        Raises
        ------
        MatineeError
            Naming file and row, and what to write there.
        """
        rows = read_reasons(path)
        try:
            return cls.built_in().extended(rows)
        except MatineeError as wrong:
            raise MatineeError(
                f"{path}, {wrong.what}", why=wrong.why, next_step=wrong.next_step
            ) from wrong

    def extended(self, rows: Iterable[Signal]) -> Self:
        """With these rows on top: the same value of the same signal is read as they say.

        A `kind` holds for its word wherever it stands. Raises `MatineeError` where a new word has
        none, or two rows give it different ones.
        """
        rows = list(rows)
        kinds = {**self.kinds, **_kinds(rows)}
        added: dict[tuple[str, str], Signal] = {}
        for row in rows:
            told = f"{row.field} {row.value}"
            if row.reason not in kinds:
                raise MatineeError(
                    f"{told}: the reason {row.reason!r} has no kind",
                    why="it is not one of those that are known",
                    next_step="write hard, technical or soft in the column kind",
                )
            other = added.setdefault((row.field, plain(row.value)), row).reason
            if other != row.reason:
                raise MatineeError(
                    f"{told} is read as two reasons, {other!r} and {row.reason!r}",
                    next_step="take one of the two rows out",
                )
        return type(self)({**self.signals, **added}, kinds)

    @cached_property
    def version(self) -> str:
        """The same for mappings that read all signals alike, and for no others."""
        told = sorted((*key, row.reason, row.weak) for key, row in self.signals.items())
        content = msgspec.json.encode([told, sorted(self.kinds.items())])
        return f"r{blake2b(content, digest_size=5).hexdigest()}"

    def word(
        self,
        *,
        code: str | None = None,
        category: str | None = None,
        advice: str | None = None,
        processor_code: str | None = None,
    ) -> str:
        """What the signals are read as: by the most specific that is known and not weak, then by
        the most specific weak one, else ``unknown``.
        """
        weak = None
        for name, value in zip(FIELDS, (advice, category, code, processor_code), strict=True):
            row = None if value is None else self.signals.get((name, plain(value)))
            if row is not None and not row.weak:
                return row.reason
            weak = weak or row
        return UNKNOWN if weak is None else weak.reason

    def of(self, attempt: Attempt) -> str | None:
        """The word for a report, whatever word stands in it; `None` while it is on its way or where
        it was approved. What failed without a known signal is ``processor_error``.
        """
        if attempt.status in {"sent", "approved"}:
            return None
        word = self.word(
            code=attempt.code,
            category=attempt.category,
            advice=attempt.advice,
            processor_code=attempt.processor_code,
        )
        return UNREACHED if word == UNKNOWN and attempt.status == "failed" else word

    def noted(self, attempt: Attempt) -> Attempt:
        """The report with its word and the version of this mapping; raw signals stay."""
        word = self.of(attempt)
        version = None if word is None else self.version
        return msgspec.structs.replace(attempt, reason=word, mapping=version)

    def kind(self, reason: str | None) -> Kind:
        """What a word means; one that is not known is soft."""
        return self.kinds.get(reason or UNKNOWN, "soft")


@lru_cache(maxsize=10_000)
def plain(code: str) -> str:
    """A raw code as it is compared: some send ``5`` or ``005`` for ``05``, ``r1`` for ``R1``.

    >>> plain("05") == plain("005") == plain("5"), plain("R01") == plain("r1")
    (True, False)
    """
    return code.casefold().lstrip("0") or "0"


def read_reasons(path: str | Path) -> list[Signal]:
    """The rows of a CSV file with the columns of `Signal`; `kind` and `weak` may be left out.

    Raises
    ------
    MatineeError
        Naming file, line and column, and what to write there.
    """
    return read_rows(Path(path), Signal)


def _kinds(rows: Iterable[Signal]) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    for row in rows:
        if row.kind is not None and kinds.setdefault(row.reason, row.kind) != row.kind:
            raise MatineeError(
                f"{row.field} {row.value}: the reason {row.reason!r} is {row.kind} here and "
                f"{kinds[row.reason]} in another row",
                next_step="write the same kind in both",
            )
    return kinds


@cache
def _built_in() -> Reasons:
    with (files("matinee.payments") / "reasons.csv").open(encoding="utf-8") as file:
        return Reasons().extended(read_rows(file, Signal, "reasons.csv"))
