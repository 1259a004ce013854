"""The text of LightGBM's trees, read closely enough that no text can harm the reader.

LightGBM trusts what it parses: a child that is its own parent never ends, a feature or a leaf that
there is not reads foreign memory. So whatever comes from a file passes here first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

LONGEST = 2**28
"""Bytes of a text that is read."""
LARGEST = 1e300
"""Of a threshold: LightGBM cuts there, and sums of leaves stay below infinity."""
END = "end of trees\n"

_WHOLE = re.compile(r"(?:(?:^| )-?\d{1,10})*", re.ASCII)
_NUMBERS = re.compile(r"(?:(?:^| )-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)*", re.ASCII)
_RANGES = re.compile(r"(?:(?:^| )(?:none|\[[-+.:e\d]+\]|[-:\d]+))+", re.ASCII)

_OF_ALL = ("num_leaves", "num_cat", "is_linear", "shrinkage")
_OF_NODES = (
    *("split_feature", "decision_type", "left_child", "right_child", "internal_count"),
    *("split_gain", "threshold", "internal_value", "internal_weight"),
)
_OF_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_OF_GROUPS = ("cat_boundaries", "cat_threshold")
_NOT_WHOLE = {
    *("shrinkage", "split_gain", "threshold", "internal_value", "internal_weight"),
    *("leaf_value", "leaf_weight"),
}
"""The lines of a tree: what each has one value for, and which of them need not be whole."""


def trees_of(model: str) -> str:
    """What a booster's text says of its trees, without what it says of their training."""
    return model[: model.index(END) + len(END)]


def check_text(text: str, features: int, objective: str) -> None:
    """Raise `ValueError` unless these are whole trees over so many features."""
    if len(text) > LONGEST or not text.isascii():
        raise ValueError(f"its trees are no plain text of at most {LONGEST:,} bytes")
    head, _, rest = text.partition("\n\n")
    edges = [0, *accumulate(_sizes(head, features, objective))]
    if rest[edges[-1] :] != END:
        raise ValueError("its trees are not of the sizes that their header gives")
    for number, (first, last) in enumerate(pairwise(edges)):
        _check_tree(rest[first:last], number, features)


def _sizes(head: str, features: int, objective: str) -> list[int]:
    """The sizes of the trees, from their header."""
    *kind, ranges, sizes = head.split("\n")
    expected = [
        *("tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", "label_index=0"),
        f"max_feature_idx={features - 1}",
        f"objective={objective}",
        "feature_names=" + " ".join(f"Column_{place}" for place in range(features)),
    ]
    ranges, sizes = ranges.removeprefix("feature_infos="), sizes.removeprefix("tree_sizes=")
    if kind != expected or not _RANGES.fullmatch(ranges) or len(ranges.split(" ")) != features:
        raise ValueError(f"its trees are of another kind, or not over {features} features")
    if not re.fullmatch(r"[1-9]\d{0,9}(?: [1-9]\d{0,9})*", sizes, re.ASCII):
        raise ValueError("its header does not say how large each tree is")
    return [int(size) for size in sizes.split(" ")]


def _check_tree(text: str, number: int, features: int) -> None:
    title, *lines = text.split("\n")
    told = dict(line.partition("=")[::2] for line in lines[:-3])
    known = {*_OF_ALL, *_OF_NODES, *_OF_LEAVES, *(_OF_GROUPS if told.get("num_cat") != "0" else ())}
    values = {name: _values(line, name not in _NOT_WHOLE) for name, line in told.items()}
    whole = title == f"Tree={number}" and lines[-3:] == ["", "", ""] and len(told) + 3 == len(lines)
    if not (whole and told.keys() == known and _fits(values, features)):
        raise ValueError(f"tree {number} is not a whole tree")


def _values(line: str, whole: bool) -> list[float]:
    if not (_WHOLE if whole else _NUMBERS).fullmatch(line):
        raise ValueError("a tree has a value that is no number")
    values = [float(value) for value in line.split(" ") if value]
    if not all(abs(value) <= LARGEST for value in values):
        raise ValueError("a tree has a value beyond any that is grown")
    return values


def _fits(values: Mapping[str, Sequence[float]], features: int) -> bool:
    """Whether all lines are of the lengths, and all places within the bounds, of one tree."""
    if any(len(values[name]) != 1 for name in _OF_ALL):
        return False
    leaves, groups = int(values["num_leaves"][0]), int(values["num_cat"][0])
    nodes = leaves - 1
    of_leaves = _OF_LEAVES if nodes else _OF_LEAVES[:1]  # a single leaf may have no weight
    return (
        leaves >= 1
        and not values["is_linear"][0]
        and all(len(values[name]) == nodes for name in _OF_NODES)
        and all(len(values[name]) == leaves for name in of_leaves)
        and all(0 <= place < features for place in values["split_feature"])
        and all(0 <= kind < 16 for kind in values["decision_type"])
        and _is_joined([*values["left_child"], *values["right_child"]], nodes)
        and _is_grouped(values, groups)
    )


def _is_joined(children: Sequence[float], nodes: int) -> bool:
    """Whether each node but the first, and each leaf ~c, is the child of one node before it."""
    later = all(child > at % nodes or child < 0 for at, child in enumerate(children))
    return later and sorted(children) == [*range(-nodes - 1, 0), *range(1, nodes)][: 2 * nodes]


def _is_grouped(values: Mapping[str, Sequence[float]], groups: int) -> bool:
    """Whether decisions by class have each a set of classes that there is."""
    asked = zip(values["decision_type"], values["threshold"], strict=True)
    of_classes = [place for kind, place in asked if int(kind) % 2]
    if not groups:
        return not of_classes
    bounds, sets = values["cat_boundaries"], values["cat_threshold"]
    return (
        len(bounds) == groups + 1
        and bounds[0] == 0
        and all(first < last for first, last in pairwise(bounds))
        and bounds[-1] == len(sets)
        and all(0 <= bits < 2**32 for bits in sets)
        and all(place == int(place) and 0 <= place < groups for place in of_classes)
    )
