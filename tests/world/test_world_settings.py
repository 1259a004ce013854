from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from matinee.world import Settings


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"members": 0}, "members must be at least 1"),
        ({"days": -1}, "days must not be negative"),
        ({"seed": -1}, "seed must not be negative"),
        ({"slots": 61}, "raise segment"),
        ({"sessions_per_day": 25.0}, "sessions_per_day"),
        ({"temperature": 0.0}, "temperature"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"start": datetime(2025, 1, 1)}, "midnight in UTC"),
        ({"start": datetime(2025, 1, 1, 3, tzinfo=UTC)}, "midnight in UTC"),
        ({"start": datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "midnight in UTC"),
        ({"countries": (("nl", 1.0),)}, "ISO codes"),
        ({"countries": (("NL", 0.5), ("NL", 0.5))}, "distinct"),
        ({"countries": (("NL", 0.5), ("US", 0.4))}, "sum to 1"),
        ({"countries": ()}, "sum to 1"),
    ],
)
def test_settings_that_make_no_world_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Settings(**wrong)
