"""What a simulated service looks like, and where its randomness comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zlib import crc32

import numpy as np

COUNTRIES = (("US", 0.40), ("NL", 0.15), ("BR", 0.15), ("IN", 0.20), ("JP", 0.10))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The size and the seed of a simulated service. Equal settings give equal worlds, bit for bit.

    Parameters
    ----------
    members, titles : how many of each; titles are the best-known films of the bundled extract.
    days : how many days of log there are. Day d is the same whatever `days` is.
    seed : the root of all randomness.
    start : midnight UTC at which day 0 begins.
    sessions_per_day : mean number of sessions (one decision each) of a member in a day.
    countries : (ISO 3166-1 code, share of the members) pairs; the shares sum to 1.
    arrivals : the days on which a tenth of the titles arrive, from the first and before the last.
    slots : K, the titles in one decision.
    segment : S, how many of the best-scored titles the logging policy draws from.
    temperature : of the logging policy's scores, in logits; higher explores more.
    epsilon : share of uniform draws from the segment in each slot of the logging policy.
    pictures : how many pictures each title has, 0 to 8; 0 is a world without pictures.

    >>> Settings(members=100).days
    30
    """

    members: int = 2_000
    titles: int = 800
    days: int = 30
    seed: int = 7
    start: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    sessions_per_day: float = 0.5
    countries: tuple[tuple[str, float], ...] = COUNTRIES
    arrivals: tuple[int, int] = (1, 61)
    slots: int = 20
    segment: int = 60
    temperature: float = 1.0
    epsilon: float = 0.1
    pictures: int = 0

    def __post_init__(self) -> None:
        for name in ("members", "titles", "slots", "segment"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1")
        _require(self.days >= 0, "days must not be negative")
        _require(self.seed >= 0, "seed must not be negative")
        _require(self.slots <= self.segment, "slots must not exceed segment; raise segment")
        _require(0 <= self.sessions_per_day <= 24, "sessions_per_day must lie in [0, 24]")
        _require(1 <= self.arrivals[0] < self.arrivals[1], "arrivals must be days from 1 on")
        _require(self.temperature > 0, "temperature must be positive")
        _require(0 <= self.epsilon <= 1, "epsilon must lie in [0, 1]")
        _require(0 <= self.pictures <= 8, "pictures must lie in [0, 8]")
        midnight = self.start.utcoffset() == timedelta(0) and self.start.time() == time()
        _require(midnight, "start must be a midnight in UTC, as 2025-01-01T00:00:00Z")
        codes, shares = zip(*self.countries, strict=True) if self.countries else ((), ())
        named = all(re.fullmatch("[A-Z]{2}", code) for code in codes)
        _require(named and len(set(codes)) == len(codes), "countries need distinct ISO codes")
        whole = all(share >= 0 for share in shares) and abs(sum(shares) - 1) < 1e-9
        _require(whole, "the shares of countries must not be negative and must sum to 1")


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(f"settings of a simulated world: {problem}")


def stream(seed: int, name: str, *keys: int) -> np.random.Generator:
    """A generator for one purpose, apart from all other purposes of the same seed.

    >>> bool(stream(7, "taste").random() == stream(7, "taste").random())
    True
    >>> bool(stream(7, "taste").random() == stream(7, "quality").random())
    False
    """
    return np.random.default_rng([seed, crc32(name.encode()), *keys])
