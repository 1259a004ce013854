"""Which message to send to a member, or none: a surface of one's own."""

from datetime import timedelta

import polars as pl

from matinee.models import Response
from matinee.policies import EpsilonGreedy
from matinee.surfaces import SURFACES, Candidates, DailyCap, Surface


class Notifications(Surface):
    """A message costs 0.1, and one that is opened earns 1. To send none costs nothing."""

    name = "notifications"
    reward_range = (-0.1, 0.9)
    window = timedelta(hours=24)
    memory = timedelta(days=1)
    messages = Candidates.of(["none", "new-season", "unfinished"])

    def eligible(self, request):
        return self.messages

    def masks(self, situation):
        return (DailyCap(1, free=["none"]),)

    def models(self):
        return (Response(by=["country", "device"]),)

    def policies(self):
        return {"explore": EpsilonGreedy(epsilon=0.3)}

    def reward(self, decisions, events):
        opened = events.filter(pl.col("kind") == "click")["decision_id"].implode()
        sent = pl.col("actions").list.first() != "none"
        earned = pl.col("decision_id").is_in(opened) - 0.1 * sent
        return decisions.select("decision_id", position=0, reward=earned)


SURFACES[Notifications.name] = Notifications
