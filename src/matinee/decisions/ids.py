"""Ids, seeds and hashes that are functions of their content (BLAKE2b, RFC 7693)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import DTypeLike, NDArray


def decision_id(surface: str, member_id: str, request_id: str, row: str | None = None) -> str:
    """The id of the decision that answers this request, 32 hexadecimal digits.

    >>> decision_id("titles", "m1", "r1") == decision_id("titles", "m1", "r1")
    True
    >>> decision_id("titles", "m1", "r1", "picks") == decision_id("titles", "m1", "r1")
    False
    """
    parts = msgspec.msgpack.encode((surface, member_id, request_id, row))
    return blake2b(parts, digest_size=16).hexdigest()


def assignment_id(surface: str, member_id: str, subject: str, before: str | int) -> str:
    """The id of what stands for a member and a subject after the decision `before`, or since a
    period of that number where none is remembered; 32 hexadecimal digits.

    >>> first = assignment_id("artwork", "m1", "heat", 12)
    >>> assignment_id("artwork", "m1", "heat", first) == first
    False
    """
    parts = msgspec.msgpack.encode((surface, member_id, subject, before))
    return blake2b(parts, digest_size=16).hexdigest()


def seed_of(salt: bytes, decision: str) -> int:
    """The seed of a decision's draw: 63 bits that nobody without the service's salt can foresee.

    `salt` has at most 64 bytes.

    >>> 0 <= seed_of(b"salt", "d1") < 2**63
    True
    """
    digest = blake2b(decision.encode(), digest_size=8, key=salt).digest()
    return int.from_bytes(digest, "big") >> 1


def luck_of(seeds: NDArray[np.int64]) -> NDArray[np.float64]:
    """A seed of 63 bits as a number in [0, 1), uniform where the seeds are: all that a draw of one
    action needs.

    >>> luck_of(np.array([0, 2**62, 2**63 - 1]))
    array([0. , 0.5, 1. ])
    """
    return (seeds >> 10) / 2**53


class _Words(ISeedSequence):
    """The state of a bit generator as the BLAKE2b digest of a seed: NumPy's own takes 10 us."""

    def __init__(self, seed: int) -> None:
        self._seed = seed.to_bytes(8, "little")

    def generate_state(self, n_words: int, dtype: DTypeLike = np.uint32) -> NDArray[Any]:
        size = n_words * np.dtype(dtype).itemsize
        return np.frombuffer(blake2b(self._seed, digest_size=size).digest(), dtype)


def generator(seed: int) -> np.random.Generator:
    """The random numbers of a decision with that seed (63 bits): always the same.

    >>> generator(1).random() == generator(1).random() != generator(2).random()
    True
    """
    words = _Words(seed)
    return np.random.Generator(np.random.PCG64(words))  # type: ignore[arg-type] # numpy's stub


def context_hash(context: dict[str, Any]) -> str:
    """The hash of a context, whatever the order of its keys; 32 hexadecimal digits.

    >>> context_hash({"a": 1, "b": 2}) == context_hash({"b": 2, "a": 1})
    True
    """
    encoded = msgspec.json.encode(context, order="deterministic")
    return blake2b(encoded, digest_size=16).hexdigest()
