"""Who pays and from what: members, their cards, and what befalls these from month to month.

All of it is made up; the sizes are those that the trade speaks of: a tenth of the renewals fail at
first, and a few months' revenue is at stake.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matinee.lake.billing import Instrument
from matinee.lake.records import Member
from matinee.world.declines import ALIVE, EXPIRED
from matinee.world.paydays import (
    BAD_MONTH,
    BROKE,
    MEANS,
    MEANS_SHARES,
    TIGHT,
    ZONE_NAMES,
    ZONES,
    usual,
)
from matinee.world.payments_settings import DAY, MONTHS, PaymentsSettings, month_name, month_of
from matinee.world.processors import (
    BANK_SHARES,
    BANKS,
    ISSUERS,
    LANDS,
    NETWORK_SHARES,
    NETWORKS,
)
from matinee.world.settings import stream

PLAN_SHARES = (0.3, 0.5, 0.2)
"""Shares of the members on the cheap, the usual and the dear plan."""

CARDS = 3
"""The most instruments of a member."""
CARDS_SHARES = (0.74, 0.20, 0.06)
FOREIGN = 0.05
"""Share of the cards whose issuer is in another country."""
FUNDINGS = ("credit", "debit", "prepaid")
FUNDING_SHARES = (0.45, 0.48, 0.07)
TOKENISED = 0.4
"""Share of the cards that are tokens of their network: they do not expire."""
SHARED = 0.02
"""Share of the members whose first card is that of another member too."""

DIE = 0.013
EXPIRE = 0.009
BACKUP = 4.0
"""Probability that a card is dead at a renewal, or has expired if it is no token; for a member's
second and third card so many times as much."""
SUSPICION = (0.961, 0.022, 0.017)
"""Shares of the cards, each month anew, that an issuer trusts, suspects, or will not have charged.
"""

MONTHS_STAYED = 7.0
"""How many more months a member stays, on the mean."""
LEAVE = 0.012
"""Mean probability, for each day that a bill stays open, that the member leaves."""
RETURNS = 0.3
"""Mean probability that a member comes back whose service went off."""


class Payers:
    """M members and their cards, as arrays; cards are [M, 3], the preferred one first.

    Attributes
    ----------
    country, zone, schedule, plan, cards : int64 [M]; `cards` is how many instruments there are.
    stays : float64 [M], months that the member is expected to stay on.
    leaves, returns : float64 [M], rate a day of leaving, and probability of coming back.
    day, second : int64 [M], day of the month and second of the day (UTC) of the renewal.
    issuer, network, funding : int64 [M, 3]. tokenised : bool [M, 3].
    owner : int64 [M, 3], the member whose card it is: another one for a shared card.
    cause : int8 [M, 3, MONTHS], why the card in this place is dead in a month, 0 if it is not.
    suspicion : int8 [M, 3, MONTHS], 0 to 2 as in `SUSPICION`.
    means : int8 [M, 3, MONTHS], how the account is filled, in `MEANS`.
    made : int64 [M, 3, MONTHS], how many cards have died in this place before.
    """

    def __init__(self, settings: PaymentsSettings) -> None:
        self.settings, self.first = settings, month_of(settings.start)
        self.country, self.zone = self._lands()
        self.schedule = np.zeros(settings.members, np.int64)
        self._habits()
        self._cards()
        self._fates()
        self._share()
        dead = (self.cause != ALIVE).astype(np.int64)
        self.made = np.cumsum(dead, axis=2) - dead
        self.expires = self._expiries()

    def __len__(self) -> int:
        return len(self.country)

    def _lands(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rng, count = stream(self.settings.seed, "payers"), self.settings.members
        codes, shares = zip(*self.settings.countries, strict=True)
        country = np.array([LANDS.index(code) for code in codes])[
            rng.choice(len(codes), count, p=shares)
        ]
        if self.settings.billed:
            country = np.array([LANDS.index(str(one.country)) for one in self.settings.billed])
        zone, luck = np.zeros(count, np.int64), rng.random(count)
        for land, code in enumerate(LANDS):
            names, parts = zip(*ZONES[code], strict=True)
            there = country == land
            at = np.searchsorted(np.cumsum(parts)[:-1], luck[there], side="right")
            zone[there] = ZONE_NAMES.index(names[0]) + at
        return country, zone

    def _habits(self) -> None:
        rng, count = stream(self.settings.seed, "habits"), len(self)
        luck = rng.random(count)
        for land, code in enumerate(LANDS):
            there = self.country == land
            bounds = np.cumsum(usual(code))[:-1]
            self.schedule[there] = np.searchsorted(bounds, luck[there], side="right")
        self.plan = rng.choice(len(PLAN_SHARES), count, p=PLAN_SHARES)
        self.stays = MONTHS_STAYED * rng.gamma(2.0, 0.5, count)
        self.leaves = LEAVE * rng.gamma(2.0, 0.5, count)
        self.returns = rng.beta(3.0, 3.0 / RETURNS - 3.0, count)
        self.day = rng.integers(1, 29, count)
        self.second = rng.integers(0, DAY, count)

    def _cards(self) -> None:
        rng, shape = stream(self.settings.seed, "cards"), (len(self), CARDS)
        self.cards = 1 + rng.choice(CARDS, shape[0], p=CARDS_SHARES)
        abroad = rng.random(shape) < FOREIGN
        land = np.where(abroad, rng.integers(0, len(LANDS), shape), self.country[:, None])
        self.issuer = land * BANKS + rng.choice(BANKS, shape, p=BANK_SHARES)
        luck, self.network = rng.random(shape), np.zeros(shape, np.int64)
        for number, code in enumerate(LANDS):
            there = land == number
            bounds = np.cumsum(list(NETWORK_SHARES[code].values()))[:-1]
            names = np.array([NETWORKS.index(name) for name in NETWORK_SHARES[code]])
            self.network[there] = names[np.searchsorted(bounds, luck[there], side="right")]
        self.funding = rng.choice(len(FUNDINGS), shape, p=FUNDING_SHARES)
        self.tokenised = rng.random(shape) < TOKENISED
        self._usual = rng.choice(len(MEANS), shape, p=MEANS_SHARES)

    def _fates(self) -> None:
        """Month by month, which cards are dead, and which are looked at with suspicion."""
        shape = (len(self), CARDS)
        self.cause = np.zeros((*shape, MONTHS), np.int8)
        self.suspicion = np.zeros((*shape, MONTHS), np.int8)
        self.means = np.zeros((*shape, MONTHS), np.int8)
        self.luck = np.zeros((len(self), MONTHS))
        often = np.where(np.arange(CARDS) == 0, 1.0, BACKUP)
        for month in range(MONTHS):
            rng = stream(self.settings.seed, "fates", self.first + month)
            luck, kind = rng.random(shape), rng.integers(1, EXPIRED, shape)
            dies = luck < DIE * often
            expires = (luck > 1 - EXPIRE * often) & ~self.tokenised
            self.cause[:, :, month] = np.where(dies, kind, np.where(expires, EXPIRED, ALIVE))
            self.suspicion[:, :, month] = rng.choice(len(SUSPICION), shape, p=SUSPICION)
            bad = rng.random(shape) < BAD_MONTH
            self.means[:, :, month] = np.where((self._usual == TIGHT) & bad, BROKE, self._usual)
            self.luck[:, month] = rng.random(len(self))

    def _share(self) -> None:
        """Give some members the first card, and the pay-day and clock, of another one at home."""
        rng = stream(self.settings.seed, "shared")
        self.owner = np.repeat(np.arange(len(self))[:, None], CARDS, axis=1)
        takes = rng.random(len(self)) < SHARED
        for land in range(len(LANDS)):
            here = np.flatnonzero(self.country == land)
            taker, giver = here[takes[here]], here[~takes[here]]
            if not len(giver):
                continue
            of = rng.choice(giver, len(taker))
            for array in (self.zone, self.schedule):
                array[taker] = array[of]
            for cards in (self.issuer, self.network, self.funding, self.tokenised):
                cards[taker, 0] = cards[of, 0]
            for fates in (self.cause, self.means):
                fates[taker, 0] = fates[of, 0]
            self.owner[taker, 0] = of

    def _expiries(self) -> NDArray[np.int64]:
        """Months since 1970 [M, 3, MONTHS] after which the card in this place is no good."""
        spread = 7 * self.owner + 3 * np.arange(CARDS)
        far = self.first + MONTHS + (spread + 11 * self.made[:, :, -1]) % 36
        expires = np.zeros(self.cause.shape, np.int64)
        for month in reversed(range(MONTHS)):
            cause = self.cause[:, :, month]
            later = far if month == MONTHS - 1 else expires[:, :, month + 1]
            kept = np.where(cause == ALIVE, later, self.first + MONTHS + (spread + month) % 36)
            expires[:, :, month] = np.where(cause == EXPIRED, self.first + month - 1, kept)
        return expires

    def members(self) -> list[Member]:
        """The members as an app would send them."""
        return [
            Member(member_id=self.member_id(number), country=LANDS[land])
            for number, land in enumerate(self.country.tolist())
        ]

    def member_id(self, member: int) -> str:
        """The id of a member."""
        billed = self.settings.billed
        return billed[member].member_id if billed else f"m{member:06d}"

    def instrument_id(self, member: int, place: int, month: int) -> str:
        """The id of the card in a place of a member's list in a month of the world."""
        return f"i{member:06d}-{place + 1}-{self.made[member, place, month]}"

    def instrument(self, member: int, place: int, month: int) -> Instrument:
        """The card in a place of a member's list in a month of the world, as a record."""
        issuer = int(self.issuer[member, place])
        instrument_id = self.instrument_id(member, place, month)
        return Instrument(
            instrument_id=instrument_id,
            member_id=self.member_id(member),
            kind="card",
            network=NETWORKS[self.network[member, place]],
            issuer=ISSUERS[issuer],
            issuer_country=LANDS[issuer // BANKS],
            funding=FUNDINGS[self.funding[member, place]],  # type: ignore[arg-type]
            expires=month_name(int(self.expires[member, place, month])),
            tokenised=bool(self.tokenised[member, place]),
            fingerprint=self.fingerprint(instrument_id),
        )

    def fingerprint(self, instrument_id: str) -> str:
        """What cards of several members have in common if they are one: the owner's card."""
        member, place, made = instrument_id[1:].split("-")
        return f"c{self.owner[int(member), int(place) - 1]:06d}-{place}-{made}"
