"""Every benchmark, one after the other: ``make bench``. Each names its bar and its peer."""

from __future__ import annotations

import os
import subprocess
import sys

NEED_DATA = {
    "lake": False,
    "ranking": True,
    "diversity": True,
    "cold_start": True,
    "sequence": True,
    "kuairand": True,
    "serve": True,
    "off_policy": True,
    "off_policy_stream": False,
    "off_policy_truth": False,
    "upworthy": True,
    "psp": True,
    "payments": False,
    "payments_outage": False,
    "payments_generations": False,
    "payments_serve": False,
    "desk": False,
    "allocation": False,
    "experiments_peeking": False,
    "experiments_asos": True,
    "video": True,
    "artwork": False,
    "interleaving": False,
    "experiments_proxies": False,
}
"""The benchmarks in their order, and whether each reads MATINEE_DATA."""
SETS = ("ml-1m/", "kuairand-pure/", "obd-sample/", "upworthy/", "psp/", "video/", "asos/")


def main() -> int:
    """1 where a bar is missed, after all have run."""
    missed = []
    for name, needs_data in NEED_DATA.items():
        print(f"\n== python -m benchmarks.{name}", flush=True)
        if needs_data and not os.environ.get("MATINEE_DATA"):
            print(f"skipped: set MATINEE_DATA to a folder with {', '.join(SETS)}")
            continue
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            missed.append(name)
    print(f"\nmissed a bar, or failed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
