"""Saving and loading: whole or not at all, and never a pickle."""

import json
import pickle
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matinee.models import (
    EASE,
    MODELS,
    CoVisitation,
    Dataset,
    Histories,
    Model,
    Popularity,
    Vocabulary,
    load_model,
    model_class,
)

TITLES = Vocabulary(["heat", "it's/a \N{CLAPPER BOARD}", "up"])


@pytest.fixture
def data() -> Dataset:
    return Dataset.of(TITLES, Histories.of([[0, 1], [1, 2]], countries=["NL", "US"]))


@pytest.fixture(params=sorted(MODELS))
def model(request: pytest.FixtureRequest, data: Dataset) -> Model:
    return model_class(request.param)().fit(data)


def rewritten(path: Path, **changes: Any) -> Path:
    """The file at `path` with some arrays or header fields replaced; None removes an array."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    for name, value in changes.items():
        if name in header or name == "format":
            header[name] = value
        elif value is None:
            del arrays[name]
        else:
            arrays[name] = value
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with path.open("wb") as out:
        np.savez(out, **arrays)
    return path


def test_the_class_is_picked_by_the_name_in_the_file(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model.npz")
    assert type(load_model(tmp_path / "model.npz")) is type(model)


def test_another_model_is_named_and_refused(data: Dataset, tmp_path: Path) -> None:
    Popularity().fit(data).save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match=r"'popularity', not 'ease'.*load_model"):
        EASE.load(tmp_path / "model.npz")


def test_a_cut_file_is_refused_wherever_it_is_cut(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    model.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="train the model again"):
            type(model).load(path)


def test_a_weight_that_is_no_number_is_refused(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, learned = tmp_path / "model.npz", model._arrays()
    numbers = [name for name, one in learned.items() if one.size and one.dtype.kind == "f"]
    for name, value in product(numbers, (np.nan, np.inf)):
        broken = learned[name].copy()
        broken.flat[-1] = value
        monkeypatch.setattr(model, "_arrays", lambda: {**learned, name: broken})  # noqa: B023
        model.save(path)
        with pytest.raises(ValueError, match="train the model again"):
            type(model).load(path)


def test_a_flipped_bit_is_refused(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    EASE().fit(data).save(path)
    whole = bytearray(path.read_bytes())
    place = whole.index(EASE().fit(data)._arrays()["weights"].tobytes())
    whole[place] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="not a whole model file"):
        EASE.load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": np.zeros((2, 2), np.float32)},
        {"weights": np.zeros((3, 3), np.float64)},
        {"weights": None},
        {"shares": np.zeros((1, 3), np.float32)},
        {"settings": {"l1": 3}},
        {"settings": {"l2": "much"}},
        {"settings": []},
        {"titles": ["heat", "heat", "up"]},
        {"titles": 3},
    ],
    ids=str,
)
def test_a_file_that_does_not_fit_together_is_refused(
    data: Dataset, tmp_path: Path, changes: dict[str, Any]
) -> None:
    EASE().fit(data).save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="train the model again"):
        EASE.load(rewritten(tmp_path / "model.npz", **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"neighbours": np.array([0, 99], np.int32)},
        {"neighbours": np.array([0, -1], np.int32)},
        {"offsets": np.array([0, 5, 9, 9], np.int32)},
        {"offsets": np.array([0, 1], np.int32)},
        {"similarities": np.zeros(1, np.float32)},
    ],
    ids=str,
)
def test_neighbours_outside_the_catalogue_are_refused(
    data: Dataset, tmp_path: Path, changes: dict[str, Any]
) -> None:
    CoVisitation().fit(data).save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="train the model again"):
        CoVisitation.load(rewritten(tmp_path / "model.npz", **changes))


def test_another_format_is_named(data: Dataset, tmp_path: Path) -> None:
    EASE().fit(data).save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="model format 99"):
        EASE.load(rewritten(tmp_path / "model.npz", format=99))


class Trap:
    """Unpickling this creates a file; nothing of ours may."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_pickles_are_never_opened(data: Dataset, tmp_path: Path) -> None:
    marker, path = tmp_path / "sprung", tmp_path / "model.npz"
    EASE().fit(data).save(path)
    objects = np.array([Trap(marker)], object)
    with pytest.raises(ValueError, match="not a whole model file"):
        EASE.load(rewritten(path, weights=objects))
    path.write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(ValueError, match="not a whole model file"):
        load_model(path)
    assert not marker.exists()


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing_behind(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.npz"
    EASE(1.0).fit(data).save(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        EASE(2.0).fit(data).save(path)
    assert EASE.load(path).l2 == 1.0
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.npz"]


def test_nothing_is_saved_before_anything_is_learned(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"call fit\(dataset\) first"):
        EASE().save(tmp_path / "model.npz")


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=", ".join(sorted(MODELS))):
        model_class("oracle")
    assert {"covisitation", "ease", "linear", "sequence"} <= set(MODELS)
