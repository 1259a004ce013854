"""The public conformance suite on every model that ships."""

from matinee.models import EASE, MODELS, CoVisitation, Model, Popularity, Response
from matinee.testing import ModelConformance


class TestPopularity(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Popularity(shrinkage=5.0)


class TestPopularityInAWindow(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Popularity(days=5.0)


class TestEASE(ModelConformance):
    def make(self) -> Model:
        return EASE(l2=2.0)


class TestCoVisitation(ModelConformance):
    def make(self) -> Model:
        return CoVisitation()


class TestResponse(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Response(strength=5.0)


class TestResponseOfAll(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Response(by=["country", "device", "plan"])


def test_every_registered_model_is_tested_here() -> None:
    tested = {type(suite().make()) for suite in ModelConformance.__subclasses__()}
    assert set(MODELS.values()) <= tested
