"""The documents are true: their commands exist, and what they show runs."""

import contextlib
import re
import shutil
from pathlib import Path

import pytest

from matinee.cli import app, run
from matinee.models import MODELS
from matinee.service.folder import Service

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands() -> set[str]:
    return {name for name in app if not name.startswith("-")}


def test_every_command_is_in_the_documents():
    told = "\n".join(page.read_text() for page in PAGES)
    missing = [name for name in commands() if f"matinee {name}" not in told]
    assert missing == []


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_explains_itself_with_an_example(name, capsys):
    with contextlib.suppress(SystemExit):
        run([name, "--help"])
    said = capsys.readouterr().out
    assert f"matinee {name}" in said
    assert "Examples" in said


def test_the_first_lines_of_the_tutorial_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MATINEE_SERVICE", "shows")
    lines = [
        line.strip()
        for block in blocks(ROOT / "docs" / "tutorial.md", "sh")
        for line in block.splitlines()
        if line.startswith("matinee ")
    ]
    assert "matinee init shows" in lines
    for line in lines:
        assert run(line.split()[1:]) == 0, line


def test_the_mapping_of_the_tutorial_imports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MATINEE_SERVICE", "shows")
    assert run(["init", "shows"]) == 0
    mapping, _ = blocks(ROOT / "docs" / "tutorial.md", "toml")
    settings = Path("shows/matinee.toml")
    settings.write_text(settings.read_text() + "\n" + mapping)
    exports = Path("shows/exports")
    exports.mkdir()
    (exports / "catalogue.csv").write_text("id,title,year,genres\nheat,Heat,1995,Crime|Drama\n")
    (exports / "plays-1.csv").write_text(
        "user,video,started,minutes\nm1,heat,1700000000,95\nm2,heat,1700000060,nan\n"
    )
    assert run(["import", "titles"]) == 0
    assert run(["import", "plays"]) == 0
    assert run(["train", "titles", "--model", "popularity"]) == 0
    assert run(["promote", "titles@1"]) == 0


def test_the_extension_of_the_tutorial_is_found(own_surfaces, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["init", "shows"]) == 0
    _, extension = blocks(ROOT / "docs" / "tutorial.md", "toml")
    settings = Path("shows/matinee.toml")
    text, times = re.subn(r"^#extensions = .*\n", extension, settings.read_text(), flags=re.M)
    assert times == 1
    settings.write_text(text)
    shutil.copy(ROOT / "examples" / "notifications.py", "shows")
    with Service.open("shows") as service:
        assert sorted(service.surfaces) == ["artwork", "notifications", "payments", "titles"]


def test_the_python_example_of_the_readme_runs(made, tmp_path, monkeypatch, capsys):
    (example,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in example.splitlines() if line]) == 6
    shutil.copytree(made, tmp_path / "demo-service")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - our own document
    assert re.fullmatch(r"\[0\.\d+, 0\.\d+, 0\.\d+\]\n", capsys.readouterr().out)


def test_the_model_of_the_concepts_works(made, tmp_path, monkeypatch):
    from matinee.service import Service, training

    (example,) = blocks(ROOT / "docs" / "concepts.md", "python")
    monkeypatch.setattr("matinee.models.MODELS", dict(MODELS))
    exec(compile(example, "concepts.md", "exec"), {})  # noqa: S102 - our own document
    folder = shutil.copytree(made, tmp_path / "shows")
    with Service.open(folder) as service:
        (version,) = training.train(service, ["newest"], by="test")
        model, _ = service.registry.load(version.id)
        assert model.name == "newest"


def test_every_picture_and_page_that_is_named_is_there():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
