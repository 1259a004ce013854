"""Whether a processor works, from its latest answers alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

MINUTE = 60_000_000
"""In microseconds."""


@dataclass(frozen=True)
class Alarm:
    r"""When a processor counts as down, and how it comes back.

    Of answers of which a share `usual` fails for technical reasons while all is well, and `down`
    while it is not, the log likelihood ratio is summed up and never falls below 0 (Page's CUSUM):

    .. math:: S_i = \max(0, S_{i-1} + \log \frac{P(x_i \mid down)}{P(x_i \mid usual)})

    At `bar` the processor is down: one false alarm comes in no less than exp(`bar`) answers. From
    then on one attempt a `probe` (minutes) is let through; `back` of them that work in a row, and
    it is up again. While it fails still, the time between probes doubles, up to `longest` minutes.

    E. S. Page: Continuous inspection schemes. Biometrika 41, 1954, 100-115.
    """

    usual: float = 0.02
    down: float = 0.5
    bar: float = 9.0
    probe: float = 2.0
    longest: float = 30.0
    back: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.usual < self.down < 1:
            raise ValueError("a processor that is down fails more often than usual, not always")

    def ratio(self, failed: bool) -> float:
        """The log likelihood ratio of one answer."""
        if failed:
            return log(self.down / self.usual)
        return log((1 - self.down) / (1 - self.usual))


@dataclass
class Health:
    """The state of one processor; `saw` takes its answers in order of time (microseconds).

    >>> health = Health(Alarm())
    >>> for second in range(3):
    ...     health.saw(second * 1_000_000, failed=True)
    >>> health.is_down(3_000_000), health.is_down(3 * MINUTE)
    (True, False)
    """

    alarm: Alarm
    score: float = 0.0
    since: int | None = None
    """When it went down; `None` while it is up."""
    _next: int = field(default=0, repr=False)
    _pause: float = field(default=0.0, repr=False)
    _worked: int = field(default=0, repr=False)

    def saw(self, at: int, *, failed: bool) -> None:
        """An answer: whether it failed for technical reasons."""
        if self.since is None:
            self.score = max(0.0, self.score + self.alarm.ratio(failed))
            if self.score >= self.alarm.bar:
                self.since, self._worked, self._pause = at, 0, self.alarm.probe
                self._wait(at)
            return
        self._worked = 0 if failed else self._worked + 1
        if self._worked >= self.alarm.back:
            self.since, self.score = None, 0.0
            return
        if failed:
            self._pause = min(2 * self._pause, self.alarm.longest)
        else:
            self._pause = self.alarm.probe
        self._wait(at)

    def asked(self, at: int) -> None:
        """An attempt goes there: while it is down that is a probe, and the next one waits."""
        if self.since is not None:
            self._wait(at)

    def is_down(self, at: int) -> bool:
        """Whether nothing may be sent there at that time; a probe may."""
        return self.since is not None and at < self._next

    def _wait(self, at: int) -> None:
        self._next = max(self._next, at + int(self._pause * MINUTE))
