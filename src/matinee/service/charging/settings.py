"""What `matinee.toml` may say about charging, and what holds where it says nothing."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from matinee.service.duration import Duration


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A processor that is charged over HTTP, under its name in decisions."""

    url: Annotated[
        str,
        Meta(min_length=1, description="Where it, or your adapter of it, listens: https://..."),
    ]
    token_env: Annotated[
        str, Meta(description="The environment variable that holds its token; empty: none.")
    ] = ""


class PaymentsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Charging the invoices that are due. Each processor has a table [payments.gateways.NAME] with
    its url and, as token_env, the environment variable that holds its token; without one nothing
    is charged from here.
    """

    charge_every: Annotated[
        Duration, Meta(description="How often it is looked which invoices are due.")
    ] = Duration("10s")
    round: Annotated[
        Duration, Meta(description="How long one look may begin new charges; the rest comes next.")
    ] = Duration("20s")
    concurrency: Annotated[int, Meta(ge=1, le=64, description="Charges under way at once.")] = 8
    timeout: Annotated[
        Duration, Meta(description="How long a processor may take to answer; 1s at least.")
    ] = Duration("30s")
    decision_age: Annotated[
        Duration, Meta(description="How old a decision may be when it is carried out.")
    ] = Duration("10m")
    ask_every: Annotated[
        Duration,
        Meta(description="How soon it is asked what came of a charge; each time twice as long."),
    ] = Duration("10s")
    sends: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="How often a charge is sent that its processor never heard of.",
        ),
    ] = 5
    abandon_after: Annotated[
        Duration,
        Meta(
            description="How long after it was last sent a charge that its processor never heard "
            "of counts as failed; longer than any request may take to arrive."
        ),
    ] = Duration("1h")
    gateways: dict[str, GatewaySettings] = {}
