"""Every table says what its columns mean."""

import pytest

from matinee.lake.schemas import SCHEMAS, TABLE_OF


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_column_has_a_meaning(name):
    schema = SCHEMAS[name]
    untold = [
        column
        for column in schema.stored
        if not schema.units[column] and column not in schema.choices
    ]
    assert untold == []


def test_the_outer_description_counts():
    assert SCHEMAS["titles"].units["runtime_minutes"] == "minutes"
    assert SCHEMAS["windows"].units["title_id"] == "the title that may be shown"


def test_every_record_has_one_table():
    assert sorted(TABLE_OF.values()) == sorted(SCHEMAS)
