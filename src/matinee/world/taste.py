"""What the simulated members like, and how that drifts from day to day."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from matinee.world.catalogue import GENRES, STYLES, Catalogue, F
from matinee.world.members import Members
from matinee.world.settings import Settings, stream

SPREAD = np.array([1.3] * GENRES + [0.4] + [0.3] * STYLES)
"""Standard deviation over members of the long-run taste for each facet, in logits."""

COUNTRY_SPREAD = 0.4
"""Standard deviation over countries of their mean taste, as a share of `SPREAD`."""

DRIFT = 0.5
"""Standard deviation of a member's drift about the long run, as a share of `SPREAD`."""

MEMORY = 0.93
"""Correlation of a member's drift from one day to the next: a half-life of about ten days."""

INTERCEPT = -4.4
HOME = 0.8
"""Logits that a film gains in the country where it was made."""


class Taste:
    """The truth about what members like: the affinity of member m for title t on day d.

    .. math:: a_{mt}(d) = b_{c(m)t} + u_m(d)^T x_t, \\quad
              b_{ct} = -4.4 + q_t + 0.8 \\cdot 1[t \\text{ made in } c] + \\eta_{ct}

    with the facets x_t and quality q_t of :class:`Catalogue`. The taste u_m(d) is an AR(1) process
    about the member's own long-run taste: a mean-reverting random walk, stationary from day 0 and
    defined on every later day, in the simulated range and after it.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue, members: Members) -> None:
        rng = stream(settings.seed, "taste")
        countries = len(settings.countries)
        nation = COUNTRY_SPREAD * SPREAD * rng.normal(size=(countries, F))
        own = SPREAD * rng.normal(size=(len(members), F))
        local = stream(settings.seed, "country").normal(scale=0.3, size=(countries, len(catalogue)))
        self.seed = settings.seed
        self.country = members.country
        self.facets = catalogue.facets
        self.long_run = nation[members.country] + own
        self.base = INTERCEPT + catalogue.quality + HOME * catalogue.made_in + local
        self._day, self._drift = 0, self._shock(0)

    def _shock(self, day: int) -> NDArray[np.float64]:
        normal = stream(self.seed, "drift", day).normal(size=self.long_run.shape)
        return DRIFT * SPREAD * normal

    def on(self, day: int) -> NDArray[np.float64]:
        """Tastes u [M, F] on a day; days before 0 count as day 0."""
        day = max(day, 0)
        if day < self._day:
            self._day, self._drift = 0, self._shock(0)
        while self._day < day:
            self._day += 1
            shock = self._shock(self._day)
            self._drift = MEMORY * self._drift + sqrt(1 - MEMORY**2) * shock
        return self.long_run + self._drift

    def affinity(
        self, day: int, members: NDArray[np.int64], titles: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Logits [B, K] of members [B] for titles [B, K] on one day."""
        base = self.base[self.country[members][:, None], titles]
        own: NDArray[np.float64] = np.einsum(
            "bf,bkf->bk", self.on(day)[members], self.facets[titles]
        )
        return base + own
