import re
from pathlib import Path

import msgspec
import pytest

from matinee.errors import MatineeError
from matinee.lake.importers import Columns, Mapping
from matinee.models import model_class
from matinee.policies import PlackettLuce
from matinee.service.duration import Duration
from matinee.service.settings import Settings
from matinee.service.toml import EXAMPLE, read_settings, written

SETTING = re.compile(r"^#(?=[\w-]+ = )", re.MULTILINE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "matinee.toml"


def mistakes(file: Path, text: str) -> str:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(MatineeError) as error:
        read_settings(file)
    assert str(file) in error.value.what
    assert error.value.next_step
    return error.value.what + "\n" + error.value.why


def test_an_empty_file_means_the_defaults(file: Path) -> None:
    file.write_text("")
    assert read_settings(file) == Settings()


def test_the_written_file_means_the_defaults(file: Path) -> None:
    file.write_text(written(), encoding="utf-8")
    assert read_settings(file) == Settings()


def test_the_written_file_with_every_setting_in_force_means_the_defaults(file: Path) -> None:
    in_force, count = SETTING.subn("", written())
    file.write_text(in_force, encoding="utf-8")
    assert read_settings(file) == Settings()
    assert count == len(list(_settings(Settings)))


def _settings(kind: type[msgspec.Struct]):
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _settings(field.type)
        elif field.name not in {"imports", "gateways", "rates"}:
            yield field.name


@pytest.mark.parametrize("line", re.findall(r"^#([\w-]+) = ", written(), re.MULTILINE))
def test_every_setting_is_explained_in_the_line_above(line: str) -> None:
    above = re.search(rf"^(.*)\n#{line} = ", written(), re.MULTILINE)
    assert above is not None
    assert above[1].startswith("# ")


def test_lines_of_the_written_file_fit_a_page() -> None:
    assert max(map(len, written().splitlines())) <= 100


def test_the_example_of_a_mapping_is_one(file: Path, tmp_path: Path) -> None:
    file.write_text(EXAMPLE)
    mapping = read_settings(file).imports["plays"]
    assert Columns("plays", mapping, tmp_path).mapping.table == "events"
    for line in EXAMPLE.splitlines():
        assert f"#     {line}\n" in written()


def test_the_defaults_make_the_models_and_the_policy_they_are_for() -> None:
    train = Settings().train
    for name in train.models:
        section = getattr(train, name, None)
        arguments = {} if section is None else msgspec.structs.asdict(section)
        assert model_class(name)(**arguments).settings() == model_class(name)().settings()
    PlackettLuce(**msgspec.structs.asdict(Settings().policy))


def test_what_the_file_says_holds(file: Path) -> None:
    file.write_text('[surfaces.titles]\nwindow = "12h"\nslots = 5\n[server]\nport = 9000\n')
    settings = read_settings(file)
    assert settings.surfaces.titles.window == Duration("12h")
    assert (settings.surfaces.titles.slots, settings.server.port) == (5, 9000)
    assert settings.surfaces.titles.min_minutes == Settings().surfaces.titles.min_minutes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[server]\n\nprt = 9000\n",
         "line 3, server.prt: unknown key: did you mean 'port'; there are 'host', 'port'"),
        ("[sever]\nport = 9000\n", "line 1, sever: unknown key: did you mean 'server'"),
        ('[server]\nport = "9000"\n',
         "line 2, server.port: Expected `int`, got `str`; write for example port = 8765"),
        ("[server]\nport = 70000\n", "line 2, server.port: Expected `int` <= 65535"),
        ("server = 5\n", "line 1, server: server is a table; write for example [server]"),
        ("server.port = 0\n", "line 1, server.port: Expected `int` >= 1"),
        ('[lake]\nkeep_sealed = "a week"\n', "line 2, lake.keep_sealed: 'a week' is no duration"),
        ("[lake]\nkeep_sealed = 7\n", "line 2, lake.keep_sealed: 7 is no duration"),
        ("[policy]\ntemperature = 0\n", "line 2, policy.temperature: Expected `float` > 0"),
        ("[policy]\nepsilon = nan\n", "line 2, policy.epsilon: "),
        ("[train.diverse]\nstrength = -1.0\n",
         "line 2, train.diverse.strength: Expected `float` >= 0.0; write for example strength = 2"),
        ("[train]\n# none\nmodels = []\n", "line 3, train.models: Expected `array` of length >= 1"),
        ('[import.plays]\nfile = "x.csv"\ntable = "event"\n',
         "line 3, import.plays.table: Invalid enum value 'event'"),
        ('[import.plays]\nfile = "x.csv"\n', "line 1, import.plays: table is missing"),
        ('[import.plays]\nfile = "x.csv"\ntable = "events"\ncolumns = { ts = 5 }\n',
         "line 4, import.plays.columns.ts: Expected `str`, got `int`"),
        ('[import."my plays"]\nfiel = "x.csv"\ntable = "events"\n',
         "line 2, import.my plays.fiel: unknown key: did you mean 'file'"),
        ("[server]\nport = \n", "line 2"),
        ("[server\n", "line 1"),
        ("port = 1\nport = 2\n", "line 2"),
    ],
)  # fmt: skip
def test_mistakes_name_the_line_the_key_and_what_to_write(file: Path, text: str, told: str) -> None:
    assert told in mistakes(file, text)


def test_all_mistakes_are_told_at_once_in_their_order(file: Path) -> None:
    told = mistakes(file, "[server]\nport = 0\n[lake]\nbuckets = 0\n[policy]\nepsilon = 2\n")
    assert [line[:7] for line in told.splitlines()[1:]] == ["line 2,", "line 4,", "line 6,"]
    assert "3 mistakes" in told


def test_a_file_that_is_not_utf8(file: Path) -> None:
    file.write_bytes(b'[service]\nname = "caf\xe9"\n')
    with pytest.raises(MatineeError, match="line 2 is not UTF-8"):
        read_settings(file)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800), ("0s", 0)]
)
def test_durations(text: str, seconds: int) -> None:
    assert Duration(text).seconds == Duration(text).delta.total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 d", "-7d", "7.5h", "1h30m", "7D", "٣d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        Duration(text)


def test_a_mapping_needs_no_more_than_file_and_table() -> None:
    assert Mapping(file="x.csv", table="events").time_format == "iso"
