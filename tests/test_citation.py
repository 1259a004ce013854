import pytest

import matinee
from matinee.models import EASE, MODELS


def test_a_model_and_its_class_cite_the_same_papers() -> None:
    assert matinee.citation(EASE()) == matinee.citation(EASE)
    assert "Steck" in matinee.citation(EASE)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_reference_of_a_model_is_cited(name: str) -> None:
    lines = matinee.citation(MODELS[name]).splitlines()
    assert lines[0] == f"{name}:"
    assert [line.strip() for line in lines[1:]] == list(MODELS[name].references)


def test_what_has_no_references_is_refused_with_an_example() -> None:
    with pytest.raises(TypeError, match=r"matinee\.citation"):
        matinee.citation(3)  # type: ignore[arg-type]
