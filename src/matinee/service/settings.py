"""The settings of a service: what `matinee.toml` may say, and what holds where it says nothing.

Each setting is declared once, here, with its default and its meaning. `matinee.service.toml`
reads the file against these declarations and writes it from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from matinee.lake.importers import Mapping
from matinee.models.sequence import Config
from matinee.models.sequence.config import RANGES
from matinee.registry import Role
from matinee.service.charging.settings import PaymentsSettings
from matinee.service.duration import Duration

PLAN = Config()


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of `matinee.toml`."""


class ServiceSettings(Section, frozen=True):
    """What the service is."""

    name: Annotated[
        str, Meta(max_length=80, description="Its name on the pages. Empty: the folder's name.")
    ] = ""
    extensions: Annotated[
        list[str],
        Meta(
            description="Python modules with surfaces, models or policies of your own: files in "
            "the service folder, or installed."
        ),
    ] = msgspec.field(default_factory=list)
    simulated: Annotated[
        bool, Meta(description="Its members and plays are made up, and every page says so.")
    ] = False


class LakeSettings(Section, frozen=True):
    """Where everything that happens is kept."""

    buckets: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Parts that members are spread over. Fixed when the lake is made: "
            "16 serves some ten million members, 64 more.",
        ),
    ] = 16
    seal_every: Annotated[
        Duration, Meta(description="How often new rows move from the inbox into sealed files.")
    ] = Duration("10s")
    compact_every: Annotated[
        Duration, Meta(description="How often small files are merged and sorted.")
    ] = Duration("1h")
    keep_sealed: Annotated[
        Duration,
        Meta(
            description="How long sealed inbox rows and replaced files are kept, so that a torn "
            "file can be rebuilt."
        ),
    ] = Duration("7d")


class ServerSettings(Section, frozen=True):
    """The HTTP server."""

    host: Annotated[
        str, Meta(min_length=1, description="The address it listens on; 0.0.0.0 is every one.")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535, description="The port it listens on.")] = 8765
    workers: Annotated[int, Meta(ge=1, le=256, description="Processes that answer.")] = 1
    max_body: Annotated[
        int, Meta(ge=1_024, le=2**30, description="The largest request body, in bytes.")
    ] = 8_388_608
    max_batch: Annotated[int, Meta(ge=1, le=100_000, description="Events in one request.")] = 5_000
    max_waiting: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Requests under way in one process; more are told at once to come back.",
        ),
    ] = 64
    timeout: Annotated[
        Duration, Meta(description="How long a request may take, and shutting down wait for it.")
    ] = Duration("10s")


class AccessSettings(Section, frozen=True):
    """Who comes in, beside those who have a token (`matinee people grant`)."""

    header: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9-]*$",
            max_length=100,
            description="The header in which a proxy that people sign in at names them, such as "
            "X-Forwarded-User. Empty: no proxy is trusted.",
        ),
    ] = ""
    proxies: Annotated[
        list[str],
        Meta(
            min_length=1,
            description="The addresses of that proxy. Whatever else runs there can pass for "
            "anybody.",
        ),
    ] = msgspec.field(default_factory=lambda: ["127.0.0.1", "::1"])
    hosts: Annotated[
        list[str],
        Meta(
            description="The names under which the service is reached behind that proxy. Empty: "
            "any name. Under another one nobody is believed to be named by it."
        ),
    ] = msgspec.field(default_factory=list)
    role: Annotated[
        Role,
        Meta(description="What whoever is named so may do, unless granted more by name."),
    ] = "viewer"


class TitlesSettings(Section, frozen=True):
    """The rows of titles on a member's home page."""

    window: Annotated[
        Duration, Meta(description="How long after a decision a play still counts for it.")
    ] = Duration("24h")
    min_minutes: Annotated[
        float, Meta(ge=0, le=100_000, description="Minutes watched that make a play a success.")
    ] = 5.0
    slots: Annotated[int, Meta(ge=1, le=1_000, description="Titles in a row.")] = 20


class ArtworkSettings(Section, frozen=True):
    """The picture that a member sees of a title."""

    window: Annotated[
        Duration, Meta(description="How long after a picture was drawn a watch counts for it.")
    ] = Duration("14d")
    min_minutes: Annotated[
        float, Meta(ge=0, le=100_000, description="Minutes watched that make a play a success.")
    ] = 5.0
    stay: Annotated[
        Duration,
        Meta(description="How long a picture stays, unless the title is watched; 90 days at most."),
    ] = Duration("14d")
    most: Annotated[
        int, Meta(ge=1, le=100, description="Different pictures of a title in 90 days.")
    ] = 3
    change_cost: Annotated[
        float,
        Meta(ge=0, le=1, description="What another picture than before must bring, in watches."),
    ] = 0.005
    fixed: Annotated[
        float, Meta(ge=0, le=0.5, description="Share of members who always get fixed pictures.")
    ] = 0.02
    uniform: Annotated[
        float,
        Meta(ge=0, le=0.5, description="Share of members whose pictures are drawn at random."),
    ] = 0.03
    gamma: Annotated[
        float,
        Meta(
            ge=0,
            le=1e9,
            description="How seldom what seems worse is tried (inverse-gap weighting): 0 draws "
            "uniformly, high keeps to the best.",
        ),
    ] = 1_000.0
    epsilon: Annotated[
        float, Meta(ge=0, le=1, description="Share of choices that is uniform for all others.")
    ] = 0.05
    strength: Annotated[
        float,
        Meta(
            ge=1e-6,
            le=1e9,
            description="Choices of a picture that weigh as much as what it shows.",
        ),
    ] = 200.0
    half_life: Annotated[
        float, Meta(ge=0, le=1e6, description="Days after which a choice counts half; 0: for ever.")
    ] = 0.0


class RecoverySettings(Section, frozen=True):
    """The surface `payments`: where and when invoices are charged. With several currencies a table
    [surfaces.payments.rates] says what a whole unit of each is worth: EUR = 1.0.
    """

    rates: Annotated[
        dict[str, Annotated[float, Meta(gt=0, le=1e9)]],
        Meta(
            description="What a whole unit of each currency is worth in the money of the service; "
            "none where there is one currency."
        ),
    ] = {}
    window: Annotated[
        Duration, Meta(description="How long after a decision what came of its invoice counts.")
    ] = Duration("30d")
    most: Annotated[
        int, Meta(ge=1, le=100, description="Attempts on an invoice that are planned, at most.")
    ] = 8
    dispute: Annotated[
        float, Meta(ge=0, lt=1, description="Share of what is charged that is disputed later.")
    ] = 0.002
    effort: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="What an attempt counts for beside its fees, as a share of the amount: in "
            "what models plan, not in rewards, which are money.",
        ),
    ] = 0.12
    limit: Annotated[
        float,
        Meta(gt=0, le=1e9, description="The most that an invoice may count for, either way."),
    ] = 10_000.0
    slack: Annotated[
        float,
        Meta(ge=0, le=1, description="By how much of its promise a processor may lag at first."),
    ] = 0.1
    gamma: Annotated[
        float,
        Meta(ge=0, le=1e9, description="How sharply what is worth less is tried more rarely."),
    ] = 500.0
    epsilon: Annotated[
        float, Meta(ge=0, le=1, description="Share of choices that are drawn evenly.")
    ] = 0.02
    answer_within_ms: Annotated[
        int,
        Meta(
            ge=1,
            le=60_000,
            description="Milliseconds after which the fixed schedule answers for the champion.",
        ),
    ] = 50


class SurfacesSettings(Section, frozen=True):
    """The places where the service chooses."""

    titles: TitlesSettings = TitlesSettings()
    artwork: ArtworkSettings = ArtworkSettings()
    payments: RecoverySettings = RecoverySettings()


class ExperimentSettings(Section, frozen=True):
    """Experiments that run on members."""

    tolerance: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="Share by which a metric of a member may fall before an experiment is "
            "halted.",
        ),
    ] = 0.02
    tightest_at: Annotated[
        int,
        Meta(
            ge=1,
            le=10**12,
            description="Members at which intervals are tightest; they hold at any number. Leave "
            "it as it is while one runs.",
        ),
    ] = 10_000
    read_every: Annotated[
        Duration, Meta(description="How often matinee work reads those that run.")
    ] = Duration("1h")


class DeskSettings(Section, frozen=True):
    """The desk."""

    read_every: Annotated[
        Duration, Meta(description="How often matinee work reads ahead what its pages show.")
    ] = Duration("5m")


class PolicySettings(Section, frozen=True):
    """How scores become probabilities (Plackett-Luce slates)."""

    temperature: Annotated[
        float,
        Meta(
            gt=0,
            le=1_000,
            description="Spread of the choice, in standard deviations of the scores: low keeps to "
            "the best, high explores.",
        ),
    ] = 0.3
    epsilon: Annotated[
        float,
        Meta(ge=0, le=1, description="Share of slots filled at random from the segment."),
    ] = 0.05
    segment: Annotated[
        int, Meta(ge=1, le=100_000, description="Titles, the best first, that a draw is made from.")
    ] = 100


class EASESettings(Section, frozen=True):
    """EASE."""

    l2: Annotated[
        float, Meta(gt=0, le=1e9, description="Ridge penalty (lambda): higher for sparser logs.")
    ] = 200.0


class DiverseSettings(Section, frozen=True):
    """The model "diverse": another one, its best titles re-ordered so that they differ more."""

    model: Annotated[
        str, Meta(min_length=1, description="The model whose titles are re-ordered, by name.")
    ] = "ease"
    strength: Annotated[
        float,
        Meta(
            ge=0,
            le=1_000,
            description="What a copy of a title above loses, in standard deviations of the "
            "scores: 0 changes nothing, 5 costs some accuracy.",
        ),
    ] = 2.0
    segment: Annotated[
        int, Meta(ge=1, le=10_000, description="Titles, the best first, that are re-ordered.")
    ] = 100


def _planned(name: str, description: str) -> Meta:
    """What a number of the plan may be."""
    least, most = RANGES[name]
    return Meta(ge=least, le=most, description=description)


class SequenceSettings(Section, frozen=True):
    """The model "sequence": a transformer over histories."""

    width: Annotated[int, _planned("width", "Width of a token: 64 trains on a laptop.")] = (
        PLAN.width
    )
    blocks: Annotated[int, _planned("blocks", "Blocks of attention and feed-forward.")] = (
        PLAN.blocks
    )
    heads: Annotated[int, _planned("heads", "Heads of attention; they divide the width.")] = (
        PLAN.heads
    )
    window: Annotated[
        int, _planned("window", "Events of a history that are looked at, at most.")
    ] = PLAN.window
    query_time: Annotated[
        bool, Meta(description="Use the time of the request: how long ago the last event was.")
    ] = PLAN.query_time
    dropout: Annotated[float, _planned("dropout", "Share of activations dropped in training.")] = (
        PLAN.dropout
    )
    negatives: Annotated[
        int, _planned("negatives", "Titles that each target is held against in a step.")
    ] = PLAN.negatives
    correction: Annotated[
        float, _planned("correction", "Share of the log-Q correction: 1 for calibrated scores.")
    ] = PLAN.correction
    smoothing: Annotated[
        float, _planned("smoothing", "How negatives are drawn: 0 alike, 1 by popularity.")
    ] = PLAN.smoothing
    batch: Annotated[
        int,
        _planned(
            "batch",
            "Members in a step, were all as long as the window: small ones learn the most from a "
            "pass, large ones fill a GPU.",
        ),
    ] = PLAN.batch
    epochs: Annotated[int, _planned("epochs", "Passes over the members.")] = PLAN.epochs
    patience: Annotated[
        int, _planned("patience", "Validations without a gain before training stops.")
    ] = PLAN.patience
    learning_rate: Annotated[
        float, _planned("learning_rate", "Its greatest; it rises, then falls on a cosine.")
    ] = PLAN.learning_rate
    half_life: Annotated[
        float,
        _planned(
            "half_life", "Days after which an event counts for half as a target. 0: no ageing."
        ),
    ] = PLAN.half_life
    horizon: Annotated[
        int,
        _planned(
            "horizon",
            "A target is one of so many events that follow: 1 asks for the next, more "
            "for what is watched soon.",
        ),
    ] = PLAN.horizon
    decay: Annotated[float, _planned("decay", "Of the weights, in each step.")] = PLAN.decay
    average: Annotated[
        float, _planned("average", "Of the moving average of the weights, which is what is kept.")
    ] = PLAN.average
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Meta(description="Of products in training: bfloat16 for a GPU."),
    ] = PLAN.precision
    seed: Annotated[int, _planned("seed", "Of all chance in training.")] = PLAN.seed


class TrainSettings(Section, frozen=True):
    """What `matinee train` learns."""

    models: Annotated[
        list[str], Meta(min_length=1, description="The models to fit and compare, by name.")
    ] = msgspec.field(default_factory=lambda: ["popularity", "covisitation", "ease"])
    ease: EASESettings = EASESettings()
    sequence: SequenceSettings = SequenceSettings()
    diverse: DiverseSettings = DiverseSettings()


class Settings(Section, frozen=True):
    """All settings of a service."""

    service: ServiceSettings = ServiceSettings()
    lake: LakeSettings = LakeSettings()
    server: ServerSettings = ServerSettings()
    access: AccessSettings = AccessSettings()
    surfaces: SurfacesSettings = SurfacesSettings()
    policy: PolicySettings = PolicySettings()
    train: TrainSettings = TrainSettings()
    payments: PaymentsSettings = PaymentsSettings()
    experiments: ExperimentSettings = ExperimentSettings()
    desk: DeskSettings = DeskSettings()
    imports: dict[str, Mapping] = msgspec.field(name="import", default_factory=dict)
