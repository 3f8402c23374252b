"""``python -m tests.crash``: the spool against its model, on a disk that loses its power.

The last line has the figures, the exit code is the verdict. An example that fails is shortened and
printed as the calls that it consists of.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback

from tests.crash.campaign import run
from tests.crash.machine import Machine


def main() -> int:
    """Run, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.crash", description=__doc__)
    parser.add_argument("--examples", type=int, default=1000, help="how many, 1000")
    parser.add_argument("--seed", type=int, default=1, help="of the examples, 1")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    began_s = time.monotonic()
    try:
        run(chosen.examples, chosen.seed, is_shrunk=True)
        failed = 0
    except Exception:  # noqa: BLE001 - whatever it is, it is the verdict
        traceback.print_exc()
        failed = 1
    facts = ", ".join(f"{name} {n}" for name, n in sorted(Machine.tally.items()))
    sys.stdout.write(f"{time.monotonic() - began_s:.0f} s: {facts}\n")
    sys.stdout.write(f"examples {chosen.examples}, failed {failed}: {Machine.verdict}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
