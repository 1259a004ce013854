"""Which units are in an arm: for ever the same ones, and others in each experiment."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import msgspec


def allocation(salt: bytes, experiment: str, unit: str) -> float:
    """Where a unit lies in an experiment, uniform in [0, 1): in an arm of share s if below s.

    So an arm that grows keeps its units. `salt` (at most 64 bytes) is the service's own: without it
    nobody can tell who is where. Units lie independently in experiments of different names.

    Source: R. Kohavi, D. Tang, Y. Xu: Trustworthy Online Controlled Experiments. Cambridge
    University Press, 2020, chapter 4 (hashing instead of tables).

    >>> here, there = (allocation(b"salt", name, "m1") for name in ("fixed", "uniform"))
    >>> 0 <= here < 1 and here != there and here == allocation(b"salt", "fixed", "m1")
    True
    """
    parts = msgspec.msgpack.encode((experiment, unit))
    digest = blake2b(parts, digest_size=8, key=salt).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def allocator(salt: bytes, experiment: str) -> Callable[[str], float]:
    """`allocation` in one experiment, for many units: what is the same for all is hashed once.

    >>> allocator(b"salt", "fixed")("m1") == allocation(b"salt", "fixed", "m1")
    True
    """
    encode, number = msgspec.msgpack.Encoder().encode, int.from_bytes
    # An array of two, as `allocation` encodes it: its head and first part, then each unit.
    hashed = blake2b(b"\x92" + encode(experiment), digest_size=8, key=salt)

    def place(unit: str) -> float:
        whole = hashed.copy()
        whole.update(encode(unit))
        return (number(whole.digest(), "big") >> 11) / 2**53

    return place
