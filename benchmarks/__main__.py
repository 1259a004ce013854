"""Every benchmark, one after the other: ``make bench``. Each names its bar and its peer."""

from __future__ import annotations

import os
import subprocess
import sys

NAMES = ("lake", "ranking", "serve", "off_policy", "off_policy_stream")
NEED_DATA = {"ranking", "serve", "off_policy"}


def main() -> None:
    for name in NAMES:
        print(f"\n== python -m benchmarks.{name}", flush=True)
        if name in NEED_DATA and not os.environ.get("MATINEE_DATA"):
            print("skipped: set MATINEE_DATA to a folder with ml-1m/ and obd-sample/")
            continue
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main()
