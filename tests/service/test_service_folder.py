from pathlib import Path

import pytest

from matinee.errors import MatineeError
from matinee.lake.importers import Columns, MovieLens
from matinee.service.folder import Service
from matinee.service.settings import Settings


@pytest.fixture
def service(tmp_path: Path):
    with Service.create(tmp_path / "shows") as made:
        yield made


def test_a_new_service_has_settings_and_an_empty_lake(service: Service) -> None:
    assert service.settings == Settings()
    assert service.name == "shows"
    assert service.lake.summary()["rows"].sum() == 0


def test_a_service_opens_again_under_its_own_name(service: Service) -> None:
    with (service.folder / "matinee.toml").open("a") as toml:
        toml.write('\n[import.plays]\nfile = "p.csv"\ntable = "events"\n')
    text = (service.folder / "matinee.toml").read_text().replace('#name = ""', 'name = "Flix"')
    (service.folder / "matinee.toml").write_text(text)
    with Service.open(service.folder) as opened:
        assert opened.name == "Flix"
        assert isinstance(opened.importer("plays"), Columns)


def test_what_a_folder_holds_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text("mine")
    Service.create(tmp_path).close()
    assert (tmp_path / "plays.csv").read_text() == "mine"


def test_a_service_is_not_made_twice(service: Service) -> None:
    with pytest.raises(MatineeError, match="is a service already"):
        Service.create(service.folder)


def test_a_lake_that_was_moved_away_is_made_anew_as_the_settings_say(service: Service) -> None:
    service.lake.close()
    (service.folder / "lake").rename(service.folder / "old")
    text = (service.folder / "matinee.toml").read_text().replace("#buckets = 16", "buckets = 2")
    (service.folder / "matinee.toml").write_text(text)
    with Service.open(service.folder) as opened:
        assert opened.lake.bucket_count == 2


@pytest.mark.parametrize("name", [".", "nothing/here"])
def test_a_folder_that_is_no_service(tmp_path: Path, name: str) -> None:
    with pytest.raises(MatineeError, match="is not a service folder") as error:
        Service.open(tmp_path / name)
    assert f"matinee init {(tmp_path / name).resolve()}" in error.value.next_step


def test_a_file_is_no_place_for_a_service(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MatineeError, match="cannot make a service"):
        Service.create(tmp_path / "file")


def test_a_path_with_dots_is_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with Service.create(tmp_path / "a" / ".." / "shows") as service:
        assert service.folder == (tmp_path / "shows").resolve()


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "link/x"])
def test_paths_do_not_lead_out_of_the_folder(service: Service, path: str) -> None:
    (service.folder / "link").symlink_to("/")
    with pytest.raises(MatineeError, match="leads out of the service folder"):
        service.inside(path)


def test_paths_inside_are_found(service: Service) -> None:
    assert service.inside("a/../models/x.npz") == service.folder / "models" / "x.npz"


def test_sources_are_folders_or_names(service: Service, tmp_path: Path) -> None:
    (tmp_path / "ml").mkdir()
    for name in ("ratings", "movies"):
        (tmp_path / "ml" / f"{name}.csv").write_text("movieId\n")
    assert isinstance(service.importer(str(tmp_path / "ml")), MovieLens)
    (tmp_path / "plays.csv").write_text("user\n")
    with pytest.raises(MatineeError, match=r"needs a mapping.*\[import\.NAME\]"):
        service.importer(str(tmp_path / "plays.csv"))
    with pytest.raises(MatineeError, match="nothing to import at plais"):
        service.importer("plais")
