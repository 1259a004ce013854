import numpy as np
import pytest

from matinee.world.behaviour import examination, play_probability, react


def test_a_slot_is_examined_less_the_further_down_it_is() -> None:
    seen = examination(30)
    assert seen[0] == 1.0
    assert (np.diff(seen) < 0).all()


def test_plays_are_as_frequent_as_their_probability() -> None:
    draws = 60_000
    affinity = np.tile([1.0, -2.0, 0.0, 3.0], (draws, 1))
    played = react(affinity, np.full(affinity.shape, 90.0), np.random.default_rng(3)).played
    wanted = play_probability(affinity[:1]).ravel()
    assert wanted[2] == pytest.approx(0.5 / 2**0.5)
    error = np.sqrt(wanted * (1 - wanted) / draws)
    assert (np.abs(played.mean(axis=0) - wanted) < 4.5 * error).all()


def test_plays_of_one_slate_are_independent() -> None:
    affinity = np.zeros((60_000, 2))
    played = react(affinity, np.full(affinity.shape, 90.0), np.random.default_rng(4)).played
    both = (played[:, 0] & played[:, 1]).mean()
    chance = played[:, 0].mean() * played[:, 1].mean()
    assert abs(both - chance) / (chance * (1 - chance)) ** 0.5 < 4.5 / 60_000**0.5


def test_who_likes_a_title_finishes_it_and_says_so() -> None:
    affinity = np.tile([-4.0, 2.0], (40_000, 1))
    reaction = react(affinity, np.full(affinity.shape, 90.0), np.random.default_rng(5))
    played = reaction.played
    finishes = [float(reaction.finished[played[:, j], j].mean()) for j in (0, 1)]
    thumbs = [float(reaction.thumb[played[:, j], j].mean()) for j in (0, 1)]
    assert finishes[0] + 0.2 < finishes[1]
    assert thumbs[0] < 0 < thumbs[1]


def test_titles_of_one_slate_are_watched_one_after_the_other() -> None:
    affinity, runtime = np.full((500, 6), 1.0), np.full((500, 6), 100.0)
    reaction = react(affinity, runtime, np.random.default_rng(6))
    for played, stopped, share in zip(
        reaction.played, reaction.stopped, reaction.share, strict=True
    ):
        minutes = 100 * 60 * share[played]
        assert (np.diff(stopped[played]) >= minutes[1:]).all()


def test_a_title_that_cannot_be_shown_is_never_played() -> None:
    affinity = np.full((1_000, 3), -np.inf)
    reaction = react(affinity, np.full(affinity.shape, 90.0), np.random.default_rng(7))
    assert not reaction.played.any()
    assert (play_probability(affinity) == 0).all()
