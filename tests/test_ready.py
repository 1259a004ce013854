"""Structs that several threads read first at the same moment: the process lives."""

import subprocess
import sys

PROGRAM = """
import sys, threading
from matinee.payments.facts import Facts

sys.setswitchinterval(1e-6)
together = threading.Barrier(4)
told = {
    "step": "route",
    "at": 0,
    "amount": 1,
    "currency": "EUR",
    "due_at": 0,
    "grace_until": 1,
    "means": [{"network": "visa"}],
    "prices": {"gold": {"approved": 1.0}},
    "tried": [{"at": 1, "processor": "gold", "rank": 1, "status": "declined"}],
}


def first():
    together.wait()
    for _ in range(20):
        Facts.read(told)


threads = [threading.Thread(target=first) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_many_threads_may_be_the_first_to_read_a_struct():
    """Without `ready` one of four such processes was killed by a null pointer."""
    for _ in range(12):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
