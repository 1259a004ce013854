"""Shots, fades, lettering, measures, likeness and crops, each by itself."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from films import dissolved, faded, lettered, plain, scene
from matinee.pictures import RATIOS, Extraction, Limits
from matinee.pictures.choice import most_different
from matinee.pictures.crops import bars, window
from matinee.pictures.fades import contrast_left, is_mixture
from matinee.pictures.frames import SMALL, ahead, frames, opened
from matinee.pictures.lettering import LIKELY, lettering
from matinee.pictures.likeness import likeness, look, near_duplicates
from matinee.pictures.measures import colourfulness, measured
from matinee.pictures.shots import cuts, distance


def small(pictures: list) -> list:
    return [cv2.resize(each, SMALL, interpolation=cv2.INTER_AREA) for each in pictures]


def distances(pictures: list) -> list[float]:
    found = small(pictures)
    return [0.0, *(distance(one, other) for one, other in pairwise(found))]


def test_hard_cuts_are_found_where_they_are():
    lengths = [20, 33, 12, 47, 25, 30]
    pictures = [f for seed, length in enumerate(lengths) for f in scene(seed, length)]
    assert cuts(distances(pictures)) == np.cumsum(lengths)[:-1].tolist()


def test_cuts_of_a_film_are_found_to_a_frame(tmp_path):
    from films import film

    lengths = [31, 44, 29, 53]
    path = film(tmp_path / "a.mp4", *(scene(seed, length) for seed, length in enumerate(lengths)))
    with opened(path, Limits()) as opening:
        seen = list(frames(opening, Extraction(until=1.0)))
    found = [0.0] + [distance(a.small, b.small) for a, b in pairwise(seen)]
    numbers = [seen[place].number for place in cuts(found)]
    truth = np.cumsum(lengths)[:-1]
    assert len(numbers) == len(truth)
    assert np.abs(np.array(numbers) - truth).max() <= 1


def test_one_scene_has_no_cut():
    assert cuts(distances(scene(1, 90))) == []
    assert cuts(distances(faded(scene(1, 60), upward=True))) == []


@pytest.mark.parametrize("seed", range(4))
def test_the_middle_of_fades_and_dissolves_is_a_mixture(seed):
    one, other = scene(seed, 48), scene(seed + 9, 48)
    for shot in (
        faded(one[:24], upward=True) + one[24:],
        one[:12] + faded(one[12:36], upward=False) + plain((0, 0, 0), 12),
        one[:12] + dissolved(one[12:36], other[12:36]) + other[36:],
        one[:12] + dissolved(one[12:36], plain((255, 255, 255), 24)),
    ):
        reduced = small(shot[::2])
        middle = 6 if shot[0].max() < 9 else 12
        assert is_mixture(reduced, middle)


@pytest.mark.parametrize("seed", range(4))
def test_a_moving_picture_is_no_mixture(seed):
    shot = small(scene(seed, 60)[::2])
    assert not any(is_mixture(shot, place) for place in range(len(shot)))


def test_contrast_left_is_the_share_of_a_fade_though_the_picture_moves():
    one = scene(3, 8)
    weaker = (one[6] * 0.5 + 60).astype(np.uint8)
    assert contrast_left(*small([one[0], weaker])) == pytest.approx(0.5, abs=0.06)
    assert contrast_left(*small([one[0], one[6]])) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("font", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("scale", [1.0, 1.6, 2.2])
def test_lettering_is_seen(font, scale):
    for number, colour in enumerate([(255, 255, 255), (20, 20, 200), (60, 220, 230)]):
        ground = scene(number, 1, (60, 60, 60))
        thick = max(2, round(scale * 1.6))
        scaled = scale * (2 if font == 1 else 1)
        (written,) = lettered(
            ground, "Presents", font=font, scale=scaled, colour=colour, thick=thick
        )
        assert lettering(written) >= LIKELY
        assert lettering(ground[0]) < LIKELY


@pytest.mark.parametrize("seed", range(12))
def test_pictures_without_lettering_are_not_taken_for_it(seed):
    assert lettering(scene(seed, 1)[0]) < LIKELY


def test_measures_do_not_depend_on_size():
    picture = scene(1, 1)[0]
    one, other = measured(picture), measured(cv2.resize(picture, None, fx=3, fy=3))
    for name, score in one.scores.items():
        assert other.scores[name] == pytest.approx(score, abs=0.12), name


def test_measures_tell_the_good_from_the_bad():
    picture = scene(1, 1, (115, 115, 115))[0]
    good = measured(picture).scores
    assert measured(cv2.GaussianBlur(picture, (0, 0), 5)).scores["sharpness"] < good["sharpness"]
    smeared = cv2.blur(picture, (41, 1))
    assert measured(smeared).scores["stillness"] < good["stillness"] - 0.2
    assert measured((picture * 0.15).astype(np.uint8)).scores["exposure"] < good["exposure"] - 0.3
    assert measured(picture // 4 + 90).scores["contrast"] < good["contrast"]
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    assert measured(grey).scores["colour"] == 0


def test_features_name_light_and_colour():
    warm = measured(np.full((90, 160, 3), (40, 90, 200), np.uint8)).features
    cool = measured(np.full((90, 160, 3), (200, 90, 40), np.uint8)).features
    assert warm["warm"] == cool["cool"] == 1
    assert warm["cool"] == cool["warm"] == 0
    dark, bright = (measured(np.full((90, 160, 3), v, np.uint8)).features for v in (15, 240))
    assert (dark["dark"], dark["bright"]) == (1, 0)
    assert (bright["dark"], bright["bright"]) == (0, 1)


def test_colourfulness_is_that_of_the_paper():
    """By hand, of a red and a blue pixel."""
    page = np.array([[(0, 0, 255), (255, 0, 0)]], np.uint8)
    rg, yb = np.array([255.0, 0.0]), np.array([127.5, -255.0])
    by_hand = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert colourfulness(page) == pytest.approx(min(1, by_hand / 109))
    page = (page // 8).astype(np.uint8)
    rg, yb = np.array([31.0, 0.0]), np.array([15.5, -31.0])
    by_hand = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert colourfulness(page) == pytest.approx(by_hand / 109)


def test_near_duplicates_are_told_from_other_pictures():
    picture = scene(1, 1)[0]
    noisy = np.clip(picture + np.random.default_rng(0).normal(0, 4, picture.shape), 0, 255)
    brighter = np.clip(picture.astype(int) + 6, 0, 255)
    for other in (noisy, brighter):
        assert near_duplicates(look(picture), look(other.astype(np.uint8)))
    for seed in range(2, 8):
        assert not near_duplicates(look(picture), look(scene(seed, 1)[0]))


def test_likeness_is_symmetric_and_one_of_itself():
    looks = [look(scene(seed, 1)[0]) for seed in range(4)]
    for one in looks:
        assert likeness(one, one) == pytest.approx(1)
        for other in looks:
            assert 0 <= likeness(one, other) <= 1 + 1e-12
            assert likeness(one, other) == pytest.approx(likeness(other, one))


def test_the_best_is_first_and_what_is_like_it_last():
    looks = [look(scene(1, 1)[0]), look(scene(1, 3)[2]), look(scene(5, 1)[0])]
    assert most_different([0.9, 0.8, 0.4], looks, 3, 0.5) == [0, 2, 1]
    assert most_different([0.9, 0.8, 0.4], looks, 2, 0.0) == [0, 1]


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(64, 2_000),
    height=st.integers(64, 2_000),
    ratio=st.sampled_from(sorted(RATIOS.values())),
    seed=st.integers(0, 9),
)
def test_windows_lie_in_the_picture_and_have_the_ratio(width, height, ratio, seed):
    weights = np.random.default_rng(seed).random((8, 8))
    left, top, right, bottom = window(weights, width, height, ratio)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert (right - left == width) or (bottom - top == height)
    assert abs((right - left) - ratio * (bottom - top)) <= max(1, ratio)


def test_windows_follow_the_subject():
    for column in range(8):
        weights = np.zeros((8, 8))
        weights[:, column] = 1
        left, _, right, _ = window(weights, 1_600, 900, 2 / 3)
        assert left <= column * 200 + 100 <= right


def test_bars_are_found_and_dark_pictures_have_none():
    light = np.full((100, 200), 120, np.uint8)
    assert bars(light) == (0, 0, 0, 0)
    light[:, :20] = light[:, -30:] = 5
    assert bars(light) == (0.1, 0, 0.15, 0)
    assert bars(np.zeros((100, 200), np.uint8)) == (0, 0, 0, 0)
    light[:, :90] = 5
    assert bars(light) == (0, 0, 0, 0)


def test_what_is_made_ahead_keeps_its_order_and_its_errors():
    def failing():
        yield from range(50)
        raise ValueError("broken")

    seen = []
    with pytest.raises(ValueError, match="broken"):
        seen.extend(ahead(failing()))  # what came before is lost in extend, as in a list
    first = ahead(iter(range(1_000_000)), size=2)
    assert [next(first) for _ in range(3)] == [0, 1, 2]
    first.close()
