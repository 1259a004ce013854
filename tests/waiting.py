"""Waiting for what other threads and processes do."""

import time

DEADLINE = 120.0
"""Seconds until a test gives up: beside other tests a worker of low priority begins slowly."""


def eventually(holds, seconds=DEADLINE):
    """Wait until `holds()` is true; what it said last."""
    end = time.monotonic() + seconds
    while not (said := holds()) and time.monotonic() < end:
        time.sleep(0.1)
    return said
