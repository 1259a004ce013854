"""Contents are made from names alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.models import Content

names = st.dictionaries(st.text(max_size=3), st.lists(st.sampled_from("abcd"), max_size=6))


@settings(max_examples=50, deadline=None)
@given(names)
def test_a_cell_is_one_where_the_title_has_the_feature(about: dict[str, list[str]]) -> None:
    content = Content.of(about)
    assert content.titles.ids == tuple(about)
    assert content.matrix.shape == (len(about), len(content.features))
    assert content.matrix.dtype == np.float32
    for row, title in zip(content.matrix.toarray(), about, strict=True):
        found = {content.features.ids[place] for place in np.flatnonzero(row)}
        assert found == set(about[title])
        assert row.sum() == len(found), "each feature counts once"


def test_features_stand_in_the_order_of_their_names() -> None:
    content = Content.of({"heat": ["word=heist", "genre=Crime"], "up": ["genre=Family"]})
    assert content.features.ids == ("genre=Crime", "genre=Family", "word=heist")


def test_no_titles_and_titles_without_features_are_contents_too() -> None:
    assert Content.of({}).matrix.shape == (0, 0)
    assert Content.of({"heat": []}).matrix.shape == (1, 0)
