"""The sequence model: what it learns, that serving equals training, that fits can be resumed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.evaluation.ranking import member_metrics, ranked
from matinee.models import (
    Content,
    Context,
    Dataset,
    Histories,
    Holdout,
    InMemory,
    Model,
    Progress,
    Run,
    Sequence,
    Vocabulary,
    load_model,
)
from matinee.models.sequence import Config, encoder, start, step, training
from matinee.models.sequence.checkpoint import Interruption
from matinee.models.sequence.encoder import Tokens, folded
from matinee.models.sequence.serving import Encoder
from matinee.models.sequence.step import hidden, untouched
from matinee.models.sequence.validation import ndcg
from matinee.models.sequence.windows import (
    Batch,
    Buckets,
    Events,
    batches,
    gather,
    latest,
    learning,
    opening,
    reticent,
)

SMALL: dict[str, Any] = {"width": 16, "blocks": 2, "window": 20, "batch": 8, "epochs": 3}
TITLES = Vocabulary([f"title {number}" for number in range(30)])
SECOND, DAY = 1_000_000, 86_400_000_000


def random_log(members: int = 60, longest: int = 40, seed: int = 0) -> Histories:
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 30, rng.integers(0, longest)).tolist() for _ in range(members)]
    times = [np.sort(rng.integers(0, 90 * DAY, len(row))).tolist() for row in rows]
    return Histories.of(rows, times, ["NL" if member % 2 else None for member in range(members)])


def learn(log: Histories, titles: Vocabulary = TITLES, **settings: Any) -> Sequence:
    return Sequence(**{**SMALL, **settings}).fit(Dataset.of(titles, log))


def scores(model: Model, titles: list[int], times: list[int] | None = None, at: int = 0) -> Any:
    context = Context(Histories.of([titles], times and [times]), np.array([at]))
    return model.believe(context).mean[0]


@pytest.fixture(scope="module", params=[True, False], ids=["time known", "time unknown"])
def fitted(request: pytest.FixtureRequest) -> Sequence:
    return learn(random_log(), query_time=request.param)


def asked(log: Histories) -> Context:
    return Context(log, np.full(len(log), 100 * DAY))


def followed(context: Context) -> Histories:
    """The histories with another event at the time of the request."""
    more = Histories.of([[0]] * len(context), context.at[:, None].tolist())
    more = replace(more, signals=np.zeros(len(context), np.uint8))
    together = Histories.concatenated([context.histories, more])
    members = np.arange(len(context))
    order = np.argsort(np.concatenate([context.histories.members(), members]), kind="stable")
    counts = np.diff(context.histories.offsets) + 1
    return replace(
        together,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        titles=together.titles[order],
        times=together.times[order],
        signals=together.signals[order],
        countries=context.histories.countries,
    )


def in_jax(model: Sequence, context: Context, begin: Any = None) -> Any:
    """What training would make of the same weights and windows, which begin where they do or at
    `begin`, where another event comes at the time of the request.
    """
    log, config = context.histories, model.config
    later = [[*log.times_of(member), now] for member, now in enumerate(context.at.tolist())]
    titles = [[*log.titles_of(member), 0] for member in range(len(log))]
    events, everyone = (
        Events.of(Histories.of(titles, later), len(model.titles)),
        np.arange(len(log)),
    )
    lengths = events.lengths - 1
    if begin is None:
        begin = np.array([opening(length, config.window) for length in lengths.tolist()])
    chosen = (events, everyone, begin, config.window)
    tokens = gather(*chosen, query_time=config.query_time)
    nothing = np.zeros(tokens.titles.shape, np.int32)
    countries = model._countries.encode(country or "" for country in log.countries)
    weights = nothing.astype(np.float32)
    batch = Batch(tokens, nothing, weights, nothing - 1, countries, nothing[:, :0])
    params = jax.tree.map(jnp.asarray, model._params)
    wanted = hidden(folded(params), batch, config.heads, [untouched] * (1 + 3 * config.blocks))
    last = wanted[everyone, lengths - begin - 1]
    return np.asarray(last @ params["titles"][:-1].T + params["bias"])


def agree(served: Any, learned: Any) -> None:
    """In scores to 1e-4, and in the best fifty up to ties within that."""
    assert np.abs(served - learned).max() < 1e-4
    best = -np.sort(-learned, axis=1)[:, :50]
    order = np.argsort(-served, axis=1)[:, :50]
    assert np.abs(np.take_along_axis(learned, order, axis=1) - best).max() < 1e-4


def test_numpy_serves_what_jax_learned(fitted: Sequence) -> None:
    context = asked(random_log(seed=1))
    served, learned = fitted.believe(context).mean, in_jax(fitted, context)
    agree(served, learned)


@given(st.data())
def test_a_window_is_served_as_it_is_learned_from(data: st.DataObject) -> None:
    """The tokens of a request, of one member or of many, are those of training where the next event
    is at its time.
    """
    event = st.tuples(st.integers(0, 4), st.integers(0, 10**9), st.integers(0, 255))
    known = sorted(data.draw(st.lists(event, max_size=12)), key=lambda one: one[1])
    titles, times, bits = ([one[part] for one in known] for part in range(3))
    log = replace(Histories.of([[1], titles], [[5], times]), signals=np.array([3, *bits], np.uint8))
    context = Context(log, np.array([9, 10**9 + 7]))
    begin, query_time = data.draw(st.integers(0, len(known))), data.draw(st.booleans())
    chosen = (np.array([1]), np.array([begin]), len(known) + 1 - begin)
    learned = gather(Events.of(followed(context), 5), *chosen, query_time=query_time)
    now, at = context.at[1:] / SECOND, int(context.at[1])
    for served in (
        gather(Events.of(log, 5), *chosen, query_time=query_time, now=now),
        latest(log.rows(1, 2), begin, size=5, query_time=query_time, now=at),
    ):
        assert served.titles.tolist() == learned.titles.tolist()
        assert served.signals.tolist() == learned.signals.tolist()
        assert np.allclose(served.gaps, learned.gaps, rtol=0, atol=1e-5)


def test_numpy_serves_what_jax_learned_at_full_size() -> None:
    """The default plan's shape and windows over 3,416 titles, weights as large as learned ones."""
    config, size, rng = Config(), 3_416, np.random.default_rng(3)
    rows = [rng.permutation(size)[:length].tolist() for length in (0, 1, 30, 199, 200, 400)]
    log = Histories.of(rows, [np.sort(rng.integers(0, 90 * DAY, len(row))) for row in rows])
    begun = start.weights(config, start.nothing(size), 0, 0)
    params = jax.tree.map(
        lambda leaf: (leaf + rng.normal(0, 0.15, leaf.shape)).astype(np.float32), begun
    )
    model = Sequence()
    model.titles = Vocabulary(map(str, range(size)))
    model._countries = Vocabulary([])
    model._devices = Vocabulary([])
    model._keep(params)
    context = asked(log)
    served, learned = model.believe(context).mean, in_jax(model, context)
    assert np.abs(learned).max() > 5
    agree(served, learned)


def test_a_member_who_watches_on_gets_what_one_seen_first_now_gets(fitted: Sequence) -> None:
    """What is kept of a member's past never shows, also where the window moves on."""
    rng = np.random.default_rng(2)
    titles = rng.integers(0, 30, 70).tolist()
    times = np.sort(rng.integers(0, 90 * DAY, 70)).tolist()
    arrays = fitted._arrays()
    for length in range(1, len(titles)):
        history = Histories.of([titles[:length]], [times[:length]])
        context = Context(history, np.array(times[length : length + 1]))
        fresh = Sequence(**fitted.settings())
        fresh.titles = TITLES
        fresh._restore(arrays)
        expected = fresh.believe(context).mean
        assert np.allclose(fitted.believe(context).mean, expected, rtol=0, atol=1e-5)


def test_a_past_that_was_corrected_is_not_taken_for_the_one_that_is_kept(
    fitted: Sequence,
) -> None:
    """Events arrive late, go, or turn out to be others; what came before them is the same."""
    rng = np.random.default_rng(4)
    titles = rng.integers(0, 30, 15).tolist()
    times = (np.arange(15) * DAY).tolist()
    fresh = Sequence(**fitted.settings())
    fresh.titles = TITLES
    fresh._restore(fitted._arrays())
    kept = Histories.of([titles], [times])
    for place in range(1, 15):
        late, others = titles.copy(), times.copy()
        late.insert(place, (late[place] + 1) % 30)
        others.insert(place, others[place] - DAY // 2)
        changed = replace(kept, signals=np.arange(15, dtype=np.uint8) // 14 * 2)
        gone = (titles[:place] + titles[place + 1 :], times[:place] + times[place + 1 :])
        shorter = Histories.of(*([one] for one in gone))
        for one in (Histories.of([late], [others]), changed, shorter):
            fitted.believe(Context(kept, np.array([15 * DAY])))
            context = Context(one, np.array([16 * DAY]))
            many = Context(Histories.concatenated([one, one]), np.array([16 * DAY] * 2))
            expected = fresh.believe(many).mean[:1]
            assert np.allclose(fitted.believe(context).mean, expected, rtol=0, atol=1e-5)


def test_only_what_is_new_is_worked_out(fitted: Sequence, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[int] = []
    advance = Encoder._advance

    def counted(encoder: Encoder, past: Any, tokens: Any) -> Any:
        worked.append(tokens.titles.shape[1])
        return advance(encoder, past, tokens)

    monkeypatch.setattr(Encoder, "_advance", counted)
    titles = [7, 3, 7, 9, 11, 2, 2, 25, 13, 4, 21]
    for length in (10, 10, 11):
        times = [(1 + place) * DAY for place in range(length)]
        scores(fitted, titles[:length], times, 100 * DAY)
    anew, again, fresh = worked
    assert (anew, again) == (11, 1)
    assert fresh == (2 if fitted.config.query_time else 1)


def test_members_asked_by_several_threads_get_what_each_gets_alone(fitted: Sequence) -> None:
    log = random_log(seed=6)
    one_by_one = [asked(log).rows(member, member + 1) for member in range(len(log))]
    alone = [fitted.believe(context).mean for context in one_by_one]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda context: fitted.believe(context).mean, one_by_one * 4))
    for found, expected in zip(together, alone * 4, strict=True):
        assert np.allclose(found, expected, rtol=0, atol=1e-5)


def test_the_time_of_the_request_counts_only_where_it_is_known(fitted: Sequence) -> None:
    soon = scores(fitted, [3, 4], [0, DAY], DAY + SECOND)
    late = scores(fitted, [3, 4], [0, DAY], 40 * DAY)
    assert np.allclose(soon, late, rtol=0, atol=1e-5) is not fitted.config.query_time


def test_the_order_of_events_is_learned() -> None:
    """After 0, 1 comes 2; after 1, 0 comes 3: no bag of titles can tell."""
    log = Histories.of([[0, 1, 2], [1, 0, 3]] * 40)
    model = learn(log, epochs=60, learning_rate=5e-3, dropout=0.0)
    assert scores(model, [0, 1])[[2, 3]].argmax() == 0
    assert scores(model, [1, 0])[[2, 3]].argmax() == 1


def test_how_long_ago_the_last_event_was_is_learned() -> None:
    """A minute after 0 comes 1, a month after it 2."""
    log = Histories.of([[0, 1], [0, 2]] * 40, [[0, 60 * SECOND], [0, 30 * DAY]] * 40)
    model = learn(log, epochs=60, learning_rate=5e-3, dropout=0.0)
    assert scores(model, [0], [0], 90 * SECOND)[[1, 2]].argmax() == 0
    assert scores(model, [0], [0], 25 * DAY)[[1, 2]].argmax() == 1


def test_what_kind_of_signal_an_event_was_is_learned() -> None:
    """Those who liked 0 watch 1 next, those who did not watch 2."""
    log = Histories.of([[0, 1], [0, 2]] * 40)
    up, down, play = 1 << 3, 1 << 4, 1
    log = replace(log, signals=np.array([up | play, play, down | play, play] * 40, np.uint8))
    model = learn(log, epochs=60, learning_rate=5e-3, dropout=0.0)
    found = [
        model.believe(
            Context(
                replace(Histories.of([[0]]), signals=np.array([signal | play], np.uint8)),
                np.array([1]),
            )
        ).mean[0, 1:3]
        for signal in (up, down)
    ]
    assert [one.argmax() for one in found] == [0, 1]


def test_an_event_of_no_weight_informs_and_is_never_a_target() -> None:
    """Everyone clicks on 2 after 0, and those who did watch 1 afterwards."""
    log = Histories.of([[0, 2, 1], [0, 3]] * 40)
    log = replace(log, weights=np.array([1, 0, 1, 1, 1] * 40, np.float32))
    model = learn(log, epochs=60, learning_rate=5e-3, dropout=0.0)
    assert scores(model, [0])[[1, 2, 3]].argmin() == 1
    clicked = Context(
        replace(Histories.of([[0, 2]]), weights=np.array([1, 0], np.float32)), np.array([2])
    )
    assert model.believe(clicked).mean[0, [1, 3]].argmax() == 0


def test_a_horizon_asks_for_what_is_watched_soon() -> None:
    """After 0 always comes 1, and then 2."""
    log = Histories.of([[0, 1, 2]] * 80)
    settings = {"epochs": 60, "learning_rate": 5e-3, "dropout": 0.0, "query_time": False}
    soon = [scores(learn(log, horizon=horizon, **settings), [0]) for horizon in (1, 2)]
    (first, second), (either, other) = (found[[1, 2]] for found in soon)
    assert first - second > 3
    assert abs(either - other) < 0.5
    assert min(either, other) - np.delete(soon[1], [1, 2]).max() > 3


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    horizon=st.integers(1, 15),
    luck=st.floats(0, 1, exclude_max=True),
)
def test_a_target_is_one_of_the_events_that_follow(
    lengths: list[int], horizon: int, luck: float
) -> None:
    """Titles are numbered by place, so a target tells how far ahead it is."""
    events = Events.of(Histories.of([list(range(length)) for length in lengths]), 30)
    members, begin = np.arange(len(lengths)), np.zeros(len(lengths), np.int64)
    nowhere = np.full(len(lengths), -1, np.int32)
    drawn = np.full((len(lengths), 14), luck)
    batch = learning(
        events,
        members,
        begin,
        14,
        query_time=True,
        countries=nowhere,
        horizon=horizon,
        luck=drawn,
    )
    for member, length in enumerate(lengths):
        for place in range(14):
            left = length - place
            assert (batch.weights[member, place] > 0) == (left > 0)
            if left > 0:
                ahead = int(luck * min(horizon if place else 14, left))
                assert batch.targets[member, place] == place + ahead


def test_a_title_that_was_only_met_is_not_held_against_what_was_watched() -> None:
    """Half watch 5 after 0. Who clicks on it and watches 1 might have watched it some day."""
    log = Histories.of([[0, 5], [0, 5, 1]] * 40)
    log = replace(log, weights=np.array([1, 1, 1, 0, 1] * 40, np.float32))
    model = learn(log, epochs=60, learning_rate=5e-3, dropout=0.0)
    clicked = Context(
        replace(Histories.of([[0, 5]]), weights=np.array([1, 0], np.float32)), np.array([2])
    )
    found = model.believe(clicked).mean[0]
    assert found.argmax() in (1, 5)
    others = np.delete(found, [1, 5])
    assert found[5] > others.max() + 2


def test_a_member_without_history_gets_what_is_popular_though_nobody_begins_with_it() -> None:
    log = Histories.of([[first, 5] for first in range(5)] * 20)
    model = learn(log, epochs=60, learning_rate=5e-3, dropout=0.0)
    assert scores(model, []).argmax() == 5


def test_a_member_without_history_gets_what_their_country_and_device_watch() -> None:
    rows, countries = [[0, 5], [1, 5], [2, 5]] * 40, ["NL", "US", "US"] * 40
    log = replace(
        Histories.of(rows, countries=countries), devices=np.array([0, 0, 0, 0, 1, 1] * 40, np.int32)
    )
    data = Dataset(TITLES, [InMemory(log)], 10**9, devices=Vocabulary(["phone", "tv"]))
    model = Sequence(**{**SMALL, "epochs": 60, "learning_rate": 5e-3, "dropout": 0.0}).fit(data)
    nobody = Histories.of([[], [], []], countries=["NL", "US", "US"])
    today = np.full(3, 20_000 * DAY)
    found = model.believe(Context(nobody, today, ("phone", "phone", "tv"))).mean
    assert found[:, :3].argmax(axis=1).tolist() == [0, 1, 2]


def test_of_a_tenth_of_the_windows_neither_country_nor_device_is_told() -> None:
    rows, columns = 5_000, 3
    told = np.ones((rows, columns), np.int32)
    tokens = Tokens(told, told.astype(np.float32), told.astype(np.uint8))
    batch = Batch(tokens, told, told.astype(np.float32), told * 2, told[:, 0] * 4, told[:, :0])
    found = reticent(batch, np.random.default_rng(0))
    silent = found.countries == -1
    assert 0.08 < silent.mean() < 0.12
    assert (found.devices[silent] == -1).all()
    assert (found.devices[~silent] == 2).all()
    assert (found.countries[~silent] == 4).all()
    assert found.targets is batch.targets


def test_all_events_at_one_time_and_times_that_go_back() -> None:
    log = Histories.of([[0, 1, 2]] * 9 + [[3, 4]], [[7, 7, 7]] * 9 + [[9 * DAY, 0]])
    model = learn(log)
    assert np.isfinite(scores(model, [0, 1], [5, 5], 5)).all()
    assert np.isfinite(scores(model, [0, 1], [2**62, 0], -(2**62))).all()


HARDLY = Holdout(("m",), Context(Histories.of([[0]]), np.array([5])), Histories.of([[7]]))
"""A question that random histories say nothing about."""


@pytest.mark.parametrize(
    ("at", "validation"), [(0.0, None), (0.6, HARDLY), (1.0, HARDLY), (1.0, None)]
)
def test_an_interrupted_fit_goes_on_to_the_same_weights(
    tmp_path: Path, at: float, validation: Holdout | None
) -> None:
    log, path = random_log(), tmp_path / "checkpoints" / "fit.npz"
    data = replace(Dataset.of(TITLES, log), validation=validation)
    whole = Sequence(**SMALL).fit(data)
    heard: list[Progress] = []

    def press(progress: Progress) -> None:
        heard.append(progress)
        if progress.done >= at and not path.with_suffix(".pressed").exists():
            path.parent.mkdir(exist_ok=True)
            path.with_suffix(".pressed").touch()
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Sequence(**SMALL).fit(data, Run(press, path))
    assert path.exists()
    resumed = Sequence(**SMALL).fit(data, Run(press, path, resume=True))
    assert heard[-1].done == 1.0
    expected = whole._arrays()
    for name, array in resumed._arrays().items():
        assert np.array_equal(array, expected[name]), name


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path: Path) -> None:
    log, path = random_log(), tmp_path / "fit.npz"

    def press(_: Progress) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        learn_with(log, Run(press, path))
    for other, settings in ((random_log(seed=5), {}), (log, {"dropout": 0.1})):
        with pytest.raises(ValueError, match="other data, with other settings, on another number"):
            learn_with(other, Run(checkpoint=path, resume=True), **settings)
    question = Holdout(("m",), Context(log.rows(0, 1), np.array([5])), Histories.of([[7]]))
    validated = replace(Dataset.of(TITLES, log), validation=question)
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        Sequence(**SMALL).fit(validated, Run(press, path))
    later = replace(question, context=replace(question.context, at=np.array([6])))
    with pytest.raises(ValueError, match="other data, with other settings, on another number"):
        Sequence(**SMALL).fit(
            replace(validated, validation=later), Run(checkpoint=path, resume=True)
        )
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="not a whole model file"):
        learn_with(log, Run(checkpoint=path, resume=True))


def learn_with(log: Histories, run: Run, **settings: Any) -> Sequence:
    return Sequence(**{**SMALL, **settings}).fit(Dataset.of(TITLES, log), run)


@pytest.mark.parametrize("rows", [[[0, 1]], [[0, 1], [2, 1], [3, 1]], [[0, 1, 2, 3]], [[5], []]])
def test_a_young_service_of_many_titles_can_be_learned_from(rows: list[list[int]]) -> None:
    """Among more titles than are decomposed whole, where little or nothing follows anything."""
    titles = Vocabulary([f"title {number}" for number in range(start.DENSE + 1)])
    model = learn(Histories.of(rows), titles, epochs=1)
    assert np.isfinite(scores(model, [0])).all()


def test_a_loss_that_is_not_a_number_stops_the_fit_and_keeps_the_last_good_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = training._Loop._rate
    steps = training.Buckets(20, 8, len(jax.devices())).steps(
        Events.of(random_log(), len(TITLES)).lengths - 1
    )

    def broken(loop: Any, done: int) -> np.float32:
        return np.float32(np.nan) if done >= steps else honest(loop, done)

    averages: list[Any] = []
    home = training._home

    def noted(params: Any) -> Any:
        averages.append(home(params))
        return averages[-1]

    monkeypatch.setattr(training._Loop, "_rate", broken)
    monkeypatch.setattr(training, "_home", noted)
    with pytest.warns(RuntimeWarning, match="epoch 2 of 3.*learning_rate below"):
        model = learn(random_log())
    assert np.isfinite(scores(model, [1, 2, 3])).all()
    assert len(averages) == 1, "what stood after the first epoch"
    begun = start.follows(random_log(), len(TITLES))
    assert not np.array_equal(model.vectors(), start.vectors(begun, 16, 0)), "and not before it"
    assert np.array_equal(model._params["titles"], averages[0]["titles"])
    monkeypatch.setattr(training._Loop, "_rate", lambda *_: np.float32(np.nan))
    with pytest.raises(FloatingPointError, match="epoch 1 of 3"):
        learn(random_log())


def test_a_loss_that_is_not_a_number_ends_a_long_epoch_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates: list[int] = []

    def broken(_: Any, done: int) -> np.float32:
        rates.append(done)
        return np.float32(np.nan if done == 2 else 1e-3)

    monkeypatch.setattr(training._Loop, "_rate", broken)
    monkeypatch.setattr(training, "LISTENING", 0.0)
    with pytest.raises(FloatingPointError, match="epoch 1 of 1"):
        learn(random_log(members=200), batch=4, epochs=1)
    assert rates == [0, 1, 2, 3], "the step after the one that broke the weights"
    monkeypatch.setattr(training, "SAVING", -1.0)
    with pytest.warns(RuntimeWarning, match="epoch 1 of 1.*The last good weights are kept"):
        model = learn(random_log(members=200), batch=4, epochs=1)
    assert np.isfinite(scores(model, [1, 2, 3])).all()


def test_a_full_disk_costs_the_checkpoint_and_not_the_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(training.checkpoint, "save", full)
    with pytest.warns(RuntimeWarning, match=r"fit\.npz could not be written: No space left"):
        model = learn_with(random_log(), Run(checkpoint=tmp_path / "fit.npz"))
    assert np.array_equal(model._params["titles"], learn(random_log())._params["titles"])


def test_training_stops_when_validation_gets_no_better() -> None:
    """What is learned says nothing about what is asked, so the best look is an early one."""
    log = Histories.of([[0, 1]] * 40)
    wanted = Holdout(("m",), Context(Histories.of([[0]]), np.array([5])), Histories.of([[7]]))
    data = replace(Dataset.of(TITLES, log), validation=wanted)
    heard: list[Progress] = []
    Sequence(**{**SMALL, "epochs": 100, "patience": 1}).fit(data, Run(heard.append))
    assert heard[-1].done < 0.5
    assert heard[-1].validation is not None


def test_the_weights_are_those_that_validation_liked_best() -> None:
    log, config = random_log(), Config(**SMALL, patience=2)
    found, events = start.follows(log, len(TITLES)), Events.of(log, len(TITLES))
    looked: list[Any] = []

    def validate(params: Any) -> float:
        looked.append(params)
        return [0.1, 0.5, 0.2][len(looked) - 1]

    nowhere = np.full(len(events), -1, np.int32)
    begun = start.weights(config, found, 0, 0)
    task = training.Task(events, nowhere, found.counts)
    best = training.train(config, begun, task, Run(), validate=validate)
    assert len(looked) == 3
    for leaf, expected in zip(jax.tree.leaves(best), jax.tree.leaves(looked[1]), strict=True):
        assert np.array_equal(leaf, expected)
    assert not np.array_equal(looked[1]["titles"], looked[2]["titles"])


def test_validation_ranks_as_evaluation_does() -> None:
    """Full of ties: a target comes last among equals in both."""
    rng = np.random.default_rng(7)
    found = rng.integers(0, 6, (300, 40)).astype(np.float32)
    orders = [rng.permutation(40) for _ in range(300)]
    targets = [order[: rng.integers(1, 15)].tolist() for order in orders]
    seen = [order[20 : rng.integers(20, 40)].tolist() for order in orders]
    members = tuple(map(str, range(300)))
    context = Context(Histories.of(seen), np.arange(300))
    holdout = Holdout(members, context, Histories.of(targets))
    wanted, masked = (one.matrix(40).toarray() > 0 for one in (holdout.targets, context.histories))
    lists = ranked(found, masked, wanted, 10)
    hits = np.take_along_axis(wanted, lists, axis=1) & (lists >= 0)
    each = member_metrics(hits, np.array([len(own) for own in targets]))["ndcg@10"]
    assert ndcg(lambda asked, _: found[asked.at], holdout) == pytest.approx(each.mean(), abs=1e-12)
    assert 0.1 < each.mean() < 0.9


@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=60),
    window=st.sampled_from([4, 50, 128, 200, 4_096]),
    batch=st.integers(1, 9),
    multiple=st.integers(1, 4),
)
def test_an_epoch_has_every_member_once_in_a_window_that_is_long_enough(
    lengths: list[int], window: int, batch: int, multiple: int
) -> None:
    buckets = Buckets(window, batch, multiple)
    found = buckets.epoch(np.array(lengths), np.random.default_rng(0))
    members = [member for _, own in found for member in own.tolist()]
    assert sorted(members) == [member for member, length in enumerate(lengths) if length]
    for padded_to, own in found:
        assert padded_to in buckets.lengths()
        assert len(own) <= buckets.rows(padded_to)
        assert all(padded_to == window or lengths[member] <= padded_to for member in own)
        shorter = [length for length in buckets.lengths() if length < padded_to]
        assert all(lengths[member] > max(shorter, default=0) for member in own)
        assert not shorter or all(padded_to <= 2 * lengths[member] + 1 for member in own)


def test_a_long_epoch_is_kept_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAVING", 0.0)
    monkeypatch.setattr(training, "LISTENING", 0.0)
    path, kept = tmp_path / "fit.npz", []

    def told(progress: Progress) -> None:
        if progress.epoch == 1 and progress.done < 1 / 3:
            kept.append(path.exists())

    learn_with(random_log(), Run(told, path))
    assert any(kept)


def test_an_interruption_that_nobody_asked_about_strikes_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), Interruption():
        os.kill(os.getpid(), signal.SIGINT)


def test_bfloat16_learns_the_same_plain_thing() -> None:
    log = Histories.of([[0, 1, 0, 1], [2, 3, 2, 3]] * 20)
    model = learn(log, epochs=20, precision="bfloat16")
    assert scores(model, [0]).argmax() == 1
    assert model._params["titles"].dtype == np.float32


def products(program: Any) -> list[set[str]]:
    """What each matrix product of a program, and of all within it, multiplies."""
    found = []
    for equation in program.eqns:
        if equation.primitive.name == "dot_general":
            found.append({str(one.aval.dtype) for one in equation.invars})
        for inner in jex.core.jaxprs_in_params(equation.params):
            found += products(inner)
    return found


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_are_of_the_precision_that_was_asked_for(precision: str, dropout: float) -> None:
    config, size = Config(**SMALL, precision=precision, dropout=dropout), len(TITLES)
    log, buckets = random_log(), Buckets(20, 8)
    begun = start.weights(config, start.follows(log, size), 1, 0)
    told = np.zeros(len(log), np.int32)
    chosen = {"query_time": True, "countries": told, "horizon": 1}
    batch = next(batches(Events.of(log, size), buckets, np.random.default_rng(0), **chosen))
    factors = step.pool(config, buckets, np.random.default_rng(0))
    drawn = step.proposal(config, np.ones(size, np.int64))
    luck = step.chance(config, buckets, drawn, factors.size, np.random.default_rng(0))
    learn = jax.value_and_grad(step._loss)
    asked = (begun, batch, luck, factors)
    program = jax.make_jaxpr(partial(learn, shape=step.shape_of(config)))(*asked)
    found = products(program.jaxpr)
    assert len(found) > 30
    assert set().union(*found) == {precision}


def test_weights_of_another_catalogue_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    model = learn(random_log())
    model.titles = Vocabulary([f"title {number}" for number in range(31)])
    model.save(path)
    with pytest.raises(ValueError, match="not a whole model file"):
        load_model(path)


def test_a_file_with_weights_that_are_not_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a version that scored titles by other vectors than it read them by."""
    model, path = learn(random_log()), tmp_path / "model.npz"
    arrays = model._arrays() | {"out": model.vectors()}
    with monkeypatch.context() as patched:
        patched.setattr(Sequence, "_arrays", lambda _: arrays)
        model.save(path)
    with pytest.raises(ValueError, match=r"does not know: \['out'\].*train the model again"):
        load_model(path)


def test_without_a_fit_it_says_what_to_do() -> None:
    context = Context(Histories.of([[0]]), np.zeros(1, np.int64))
    unfitted, interrupted = Sequence(), Sequence(**SMALL)

    def press(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(Dataset.of(TITLES, random_log()), Run(press))
    content = Content.of({"new": []})
    for model in (unfitted, interrupted):
        for ask in (lambda m: m.believe(context), lambda m: m.adopt(content), Sequence.vectors):
            with pytest.raises(ValueError, match="call fit"):
                ask(model)


def test_a_title_that_nobody_knows_scores_as_low_as_any(fitted: Sequence) -> None:
    context = asked(random_log(seed=1))
    every = fitted.believe(context).mean
    some = fitted.believe(context, np.array([3, -1], np.int32)).mean
    assert np.array_equal(some[:, 0], every[:, 3])
    assert np.array_equal(some[:, 1], np.minimum(every.min(axis=1), 0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width is 0; give a number from 4"),
        ({"width": 15}, "give a width that the heads divide"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"precision": "float8"}, "choose one of float32, bfloat16"),
        ({"query_time": 1}, "give true or false"),
        ({"window": True}, "window is True"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sequence(**settings)


def test_effects_are_those_of_truly_removing_an_event(fitted: Sequence) -> None:
    """From the window as it is: older events, which a shorter history would bring back into it,
    stay out.
    """
    rng = np.random.default_rng(3)
    for length in (1, 5, 18, 19, 20, 22, 23, 24, 40, 61):
        titles = rng.integers(0, 30, length).tolist()
        times = np.sort(rng.integers(0, 90 * DAY, length)).tolist()
        context = Context(Histories.of([titles], [times]), np.array([99 * DAY]))
        wanted = np.array([4, 9], np.int32)
        events, moved = fitted.effects(context, wanted, latest=20)
        assert events.tolist() == list(range(max(0, length - 20), length))
        begin = opening(length + 1, SMALL["window"])
        for event, effect in zip(events, moved, strict=True):
            less = context.without(np.array([event]))
            held = begin - 1 if event + 1 < begin else begin
            whole, without = in_jax(fitted, context, begin), in_jax(fitted, less, held)
            expected = (whole - without)[0, wanted]
            assert np.abs(effect - expected).max() < 1e-4


def test_long_windows_are_worked_out_in_pieces(
    fitted: Sequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = asked(random_log(seed=1))
    expected = in_jax(fitted, context)
    monkeypatch.setattr(encoder, "PIECE", 6)
    agree(fitted.believe(context).mean, expected)
    agree(in_jax(fitted, context), expected)
    for member in range(20):
        one = context.rows(member, member + 1)
        agree(fitted.believe(one).mean, expected[member : member + 1])


DEVICES = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
from test_sequence import asked, jax, learn, random_log, training
place, held = training.placed, []
def noted(batch, devices):
    spread = place(batch, devices)
    for array in jax.tree.leaves(spread):
        shards = array.addressable_shards
        held.append(len({shard.device for shard in shards}) * shards[0].data.size == array.size)
    return spread
training.placed = noted
model = learn(random_log(), epochs=1, learning_rate=1e-3)
assert held and all(held), "each device has its part of every batch, and no other"
np.savez(sys.argv[2], devices=len(jax.devices()), scores=model.believe(asked(random_log())).mean)
"""


def test_several_devices_learn_what_one_learns(tmp_path: Path) -> None:
    """Four forced host devices share each batch; Adam makes much of rounding as epochs pass."""
    path = tmp_path / "scores.npz"
    flags = "--xla_force_host_platform_device_count=4"
    subprocess.run(
        [sys.executable, "-c", DEVICES, Path(__file__).parent, path],
        check=True,
        env={**os.environ, "XLA_FLAGS": flags},
    )
    with np.load(path) as found:
        assert found["devices"] == 4
        alone = learn(random_log(), epochs=1, learning_rate=1e-3).believe(asked(random_log())).mean
        assert np.allclose(found["scores"], alone, rtol=0, atol=1e-4)


LARGE = """
import resource, numpy as np
from dataclasses import replace
from matinee.models import Context, Dataset, Histories, Holdout, Sequence, Vocabulary
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024
rng = np.random.default_rng(0)
log = Histories.of([rng.integers(0, 100_000, 1_000).tolist() for _ in range(40)])
data = Dataset.of(Vocabulary(str(number) for number in range(100_000)), log)
size = 2_000
questions = Context(Histories.of([[0]] * size), np.zeros(size, np.int64))
asked = Holdout(tuple(map(str, range(size))), questions, Histories.of([[1]] * size))
before = peak()
model = Sequence(width=32, window=1_000, batch=4, epochs=1).fit(replace(data, validation=asked))
assert peak() - before < 1.4e9, peak() - before
"""


@pytest.mark.slow
def test_a_large_catalogue_and_long_histories_fit_into_memory() -> None:
    """100,000 titles and histories of 1,000 events: the scores of a step on all titles would take
    1.6 GB, and those of 2,000 members who are validated on 0.8 GB.
    """
    subprocess.run([sys.executable, "-c", LARGE], check=True)


@pytest.mark.parametrize("batch", [1, 8])
def test_with_a_half_life_what_was_watched_lately_counts_for_more(batch: int) -> None:
    """Long ago 1 followed 0, of late 2 does, half as often."""
    rows, times = [[0, 1]] * 40 + [[0, 2]] * 20, [[0, DAY]] * 40 + [[90 * DAY, 91 * DAY]] * 20
    log = Histories.of(rows, times)
    settings = {"epochs": 60 if batch > 1 else 10, "learning_rate": 5e-3, "dropout": 0.0}
    settings |= {"query_time": False, "batch": batch}
    assert scores(learn(log, **settings), [0])[[1, 2]].argmax() == 0
    assert scores(learn(log, half_life=10.0, **settings), [0])[[1, 2]].argmax() == 1
