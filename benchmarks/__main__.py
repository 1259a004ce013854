"""Every benchmark, one after the other: ``make bench``. Each names its bar and its peer."""

from __future__ import annotations

import os
import subprocess
import sys

NAMES = (
    "lake",
    "ranking",
    "diversity",
    "cold_start",
    "sequence",
    "kuairand",
    "serve",
    "off_policy",
    "off_policy_stream",
    "off_policy_truth",
)
NEED_DATA = {
    "ranking",
    "diversity",
    "cold_start",
    "sequence",
    "kuairand",
    "serve",
    "off_policy",
}


def main() -> int:
    """1 where a bar is missed, after all have run."""
    missed = []
    for name in NAMES:
        print(f"\n== python -m benchmarks.{name}", flush=True)
        if name in NEED_DATA and not os.environ.get("MATINEE_DATA"):
            print("skipped: set MATINEE_DATA to a folder with ml-1m/, kuairand-pure/, obd-sample/")
            continue
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            missed.append(name)
    print(f"\nmissed a bar, or failed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
