"""Serving: the encoder in NumPy, with what was worked out for a member kept while they watch on.

What a block keeps of past events does not depend on later ones. So of a
member who comes back only the tokens after the last that stayed the same are worked out: one where
nothing was watched since, and one or two more for every event that came. A window that moved on, or
changed at its very beginning, is worked out anew. Members asked for in batches are not kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.models.data import SECOND, Histories
from matinee.models.sequence.encoder import (
    PIECE,
    SERVING,
    Floats,
    Params,
    Tokens,
    embed,
    finish,
    folded,
    halves,
    look,
    look_back,
    merge_heads,
    remember,
    respond,
    rms,
    split_heads,
)
from matinee.models.sequence.windows import Events, gather, latest, opening

Past = tuple[Floats, ...]
"""Keys and values [B, L, 2 D] of each block but the last, and of that its tokens [B, L, D]."""

KEPT = 1 << 28
"""Bytes of members' pasts that are kept, about: 150 KB each for a window of 200 and two blocks of
width 64."""
AT_ONCE = 1 << 24
"""Attention scores that are worked out at a time, where a single member has no more."""
SIGNATURE = 8
"""The tokens at the beginning of a window that its past is found by; a shorter one is not kept."""


class Kept(NamedTuple):
    """The window [1, L] of a member seen before, and its past."""

    tokens: Tokens
    past: Past

    def agrees(self, tokens: Tokens) -> int:
        """How many tokens a window has in common with this one before the first that differs."""
        length = min(self.tokens.titles.shape[1], tokens.titles.shape[1])
        alike = self.tokens.titles[0, :length] == tokens.titles[0, :length]
        alike &= self.tokens.gaps[0, :length] == tokens.gaps[0, :length]
        alike &= self.tokens.signals[0, :length] == tokens.signals[0, :length]
        return length if alike.all() else int(alike.argmin())


class Encoder:
    """Turns histories into what is wanted next. Safe for threads; what it keeps shows in rounding
    alone.
    """

    def __init__(self, params: Params, window: int, heads: int, *, query_time: bool) -> None:
        self.params, self.window, self.heads = folded(params), window, heads
        self.query_time = query_time
        width = params["titles"].shape[1]
        widths = [2 * width] * (len(params["blocks"]) - 1) + [width]
        self._most = max(1, KEPT // (4 * window * sum(widths)))
        self.size = len(params["titles"]) - 1
        self._biases = [_by_distance(block["distance"]) for block in params["blocks"]]
        self._empty: Past = tuple(np.zeros((1, 0, wide), np.float32) for wide in widths)
        self._pasts: OrderedDict[bytes, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def wanted(
        self,
        histories: Histories,
        at: NDArray[np.int64],
        context: Floats,
        begin: list[int] | None = None,
    ) -> Floats:
        """What each member wants next [B, D]: `at` in microseconds [B], `context` [B, D].

        Windows begin at these tokens [B], or where `opening` has them begin.
        """
        if len(histories) == 1:
            x = self._one(self._latest(histories, int(at[0]), begin))
        else:
            x = self._all(histories, at, begin)
        wanted: Floats = finish(self.params, x, context, np)
        return wanted

    def _latest(self, histories: Histories, now: int, begin: list[int] | None) -> Tokens:
        known = histories.where(histories.titles >= 0)
        begins = begin[0] if begin else opening(len(known.titles) + 1, self.window)
        return latest(known, begins, size=self.size, query_time=self.query_time, now=now)

    def _all(self, histories: Histories, at: NDArray[np.int64], begin: list[int] | None) -> Floats:
        """What the last token of each window has become [B, D]; those of one length together."""
        events = Events.of(histories, self.size)
        lengths = events.lengths.tolist()
        begins = np.array(begin or [opening(length, self.window) for length in lengths], np.int64)
        spans = events.lengths - begins
        x = np.zeros((len(events), self.params["titles"].shape[1]), np.float32)
        for span in set(spans.tolist()):
            alike = np.flatnonzero(spans == span)
            step = max(1, AT_ONCE // (self.heads * span * min(span, PIECE)))
            for start in range(0, len(alike), step):
                members = alike[start : start + step]
                now = at[members] / SECOND
                chosen = (members, begins[members], span)
                x[members] = self._many(
                    gather(events, *chosen, query_time=self.query_time, now=now)
                )
        return x

    def _many(self, tokens: Tokens) -> Floats:
        """What the last tokens of windows [B, L] have become [B, D]; what all windows share at
        the start is worked out once.
        """
        shared = _shared(tokens) if len(tokens.titles) > 1 else 0
        if not shared:
            return self._advance(self._empty, tokens)[1]
        past, _ = self._advance(self._empty, Tokens(*(part[:1, :shared] for part in tokens)))
        return self._advance(past, Tokens(*(part[:, shared:] for part in tokens)))[1]

    def _one(self, tokens: Tokens) -> Floats:
        """The same for a single member, from what is kept of their past."""
        length = tokens.titles.shape[1]
        key = _signature(tokens)
        kept = self._recall(key)
        known = min(kept.agrees(tokens), length - 1) if kept else 0
        past = _first(kept.past, known) if kept else self._empty
        added, x = self._advance(past, Tokens(*(part[:, known:] for part in tokens)))
        if SIGNATURE < length > known + 1:
            self._retain(key, Kept(tokens, _joined(past, added)))
        return x

    def _advance(self, past: Past, tokens: Tokens) -> tuple[Past, Floats]:
        """What is kept of the new tokens, and the last one's way through [B, D].

        The past of one member serves all B.
        """
        x, added = embed(self.params, tokens, np), []
        asked, length = x.shape[1], past[0].shape[1] + x.shape[1]
        *blocks, last = self.params["blocks"]
        for block, old, biases in zip(blocks, past[:-1], self._biases[:-1], strict=True):
            h = rms(x, np)
            added.append(remember(block, h))
            bias = biases[:, length - asked : length, :length]
            seen = partial(look_back, past=_extended(old, added[-1]), bias=bias, xp=np)
            x = respond(block, x, h, seen, xp=np, drops=SERVING)
        h = rms(x, np)
        bias = self._biases[-1][:, length - 1 : length, :length]
        seen = partial(look_once, last, _extended(past[-1], h), bias)
        x = respond(last, x[:, -1:], h[:, -1:], seen, xp=np, drops=SERVING)
        return (*added, h), x[:, 0]

    def _recall(self, key: bytes) -> Kept | None:
        with self._lock:
            kept = self._pasts.get(key)
            if kept is not None:
                self._pasts.move_to_end(key)
            return kept

    def _retain(self, key: bytes, kept: Kept) -> None:
        with self._lock:
            self._pasts[key] = kept
            self._pasts.move_to_end(key)
            if len(self._pasts) > self._most:
                self._pasts.popitem(last=False)


def look_once(block: Params, h: Floats, bias: Floats, q: Floats) -> Floats:
    """`look_back` of one query [B, 1, D] for each member, at tokens [B, L, D] rather than at their
    keys and values, which are never made: the matrices move to the query's side. Each head is a
    query of its own then, and all of them `look` at the same tokens.
    """
    heads = len(bias)
    keys, values = (split_heads(one, heads) for one in halves(block["kv"]))
    asked = (split_heads(q, heads) @ keys.swapaxes(-1, -2)).swapaxes(1, 2)  # [B, 1, H, D]
    asked = asked * np.float32(heads**0.5)  # `look` makes it sqrt(D) less, not sqrt(D / H)
    seen = look(asked, h[:, None], h[:, None], bias.swapaxes(0, 1), np)
    found: Floats = merge_heads(seen.swapaxes(1, 2) @ values)
    return found


def _by_distance(table: Floats) -> Floats:
    """`distance_bias` [H, W, W] of a table [H, W], as views of one line: a row begins one place
    before the one above, so that wide windows cost no more memory than their table.
    """
    window = table.shape[1]
    ahead = np.full((len(table), window - 1), -1e9, np.float32)
    line = np.concatenate([table[:, ::-1], ahead], axis=1)
    return np.lib.stride_tricks.sliding_window_view(line, window, axis=1)[:, ::-1]


def _shared(tokens: Tokens) -> int:
    """How many tokens all windows begin with alike, the last one not counted."""
    alike = np.all([(part == part[:1]).all(axis=0) for part in tokens], axis=0)
    return int(np.append(alike[:-1], False).argmin())


def _signature(tokens: Tokens) -> bytes:
    """What the windows of one member begin with as long as they begin at the same event."""
    return b"".join(part[0, :SIGNATURE].tobytes() for part in tokens)


def _first(past: Past, length: int) -> Past:
    """Of the first `length` tokens."""
    return tuple(part[:, :length] for part in past)


def _extended(old: Floats, new: Floats) -> Floats:
    """What is kept of a block with the new tokens behind the old."""
    if not old.shape[1]:
        return new
    return np.concatenate([np.broadcast_to(old, (len(new), *old.shape[1:])), new], axis=1)


def _joined(past: Past, added: Past) -> Past:
    return tuple(_extended(old, new) for old, new in zip(past, added, strict=True))
