"""Plots are safe to put into a page, the same each time, and told in words too."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from matinee.evaluation import plots
from matinee.evaluation.plots import Point

PLOTS = {
    "values": lambda: plots.values([Point("dr", 1.0, 0.5, 1.5)], "plays", truth=1.2),
    "days": lambda: plots.days([Point("mon", 1.0, 0.9, 1.1), Point("tue", 0.7, 0.6, 0.8)]),
    "weights": lambda: plots.weights([0.0, 0.5, 1e12]),
    "calibration": lambda: plots.calibration([Point("heat", 0.9, 0.8, 0.95)]),
    "against_size": lambda: plots.against_size([1, 10], [-1, 0], [1, 0.5], "gain", 0.0),
}


@pytest.fixture(params=sorted(PLOTS))
def make(request):
    return PLOTS[request.param]


def test_a_plot_is_one_svg_element_without_scripts_or_links_out(make):
    root = ET.fromstring(make())  # noqa: S314 (our own output)
    assert root.tag.endswith("svg")
    tags = {element.tag.rsplit("}")[-1] for element in root.iter()}
    assert not tags & {"script", "image", "foreignObject", "a"}
    assert not re.search(r'(?:href|src)="(?!#)', make())


def test_the_same_numbers_give_the_same_bytes(make):
    assert make() == make()


def test_a_plot_takes_the_colour_of_its_page(make):
    assert "currentColor" in make()
    assert plots.INK not in make()


def test_a_plot_says_its_numbers_in_words(make):
    root = ET.fromstring(make())  # noqa: S314
    assert root.get("role") == "img"
    assert root.get("aria-label") == root[0].text


def test_words_hold_the_interval_and_what_was_never_chosen():
    assert "dr 1 [0.5, 1.5]" in PLOTS["values"]()
    assert "3 weights, 1 of them 0" in PLOTS["weights"]()
    assert "the intervals of 1 leave 1 out" in PLOTS["calibration"]()
    assert "mean weight on 2 days: the intervals of 1 leave 1 out" in PLOTS["days"]()


def test_a_wide_interval_does_not_hide_the_others():
    points = [Point("near", 1.0, 0.5, 1.5), Point("far", 900.0, -900.0, 2700.0)]
    cut, whole = plots.values(points, "plays", within=(0.0, 2.0)), plots.values(points, "plays")
    assert "1000" in whole
    assert "1000" not in re.sub(r"<title>.*?</title>|<style.*?</style>", "", cut)


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", "cost $x^", "\"&'", "50 %"])
def test_labels_from_outside_stay_text(label):
    root = ET.fromstring(plots.values([Point(label, 1, 0, 2)], "plays"))  # noqa: S314
    assert label in {element.text for element in root.iter()}


def test_nothing_to_draw_is_drawn_empty():
    for plot in (
        plots.values([], "plays"),
        plots.weights(np.zeros(0)),
        plots.calibration([]),
        plots.days([]),
        plots.against_size([], [], [], "gain"),
    ):
        assert plot.startswith("<svg")
