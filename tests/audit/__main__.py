"""``python -m tests.audit``: recordings that lose samples everywhere, and the audit of each.

Three quarters of the runs are lives of a recorder whose disk fails and loses its power, whose
processes are killed, and whose rings and disk run full; the others are uploaded to a ground station
and audited at both ends. The last line has the figures, the exit code is the verdict. A life that
fails is shortened and printed as the calls that it consists of.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from recorder.ground import GroundStation
from tests.audit import uploads
from tests.audit.machine import AuditMachine, run


def main() -> int:
    """Run, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.audit", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="how many, 200")
    parser.add_argument("--seed", type=int, default=1, help="of the runs, 1")
    chosen = parser.parse_args()
    began_s = time.monotonic()
    sent = chosen.runs // 4
    disagreements, unbalanced, tally = upload(sent, chosen.seed)
    try:
        run(chosen.runs - sent, chosen.seed, is_shrunk=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the verdict
        traceback.print_exc()
        disagreements += 1
        unbalanced += " is not " in str(error)
    tally += AuditMachine.tally
    out = sys.stdout.write
    out(f"{time.monotonic() - began_s:.0f} s: ")
    out(", ".join(f"{name} {n}" for name, n in sorted(tally.items())) + "\n")
    out(f"runs {chosen.runs}, of these {sent} uploaded; audits {tally['audits']}, ")
    out(f"equations broken {unbalanced}, audit disagreements {disagreements}\n")
    return int(bool(disagreements))


def upload(runs: int, number: int) -> tuple[int, int, Counter[str]]:
    """Make, send and audit so many recordings.

    Returns:
        Recordings whose audit found something, equations that did not hold, and what happened.
    """
    logging.disable(logging.WARNING)
    tally: Counter[str] = Counter()
    disagreements = unbalanced = 0
    with tempfile.TemporaryDirectory() as made, GroundStation(Path(made) / "ground") as station:
        for one in range(number, number + runs):
            folder = Path(made) / str(one)
            folder.mkdir()
            found = uploads.run(folder, station.url, one, tally)
            disagreements += bool(found)
            unbalanced += sum(" is not " in text for text in found)
            for text in found:
                sys.stdout.write(f"upload {one}: {text}\n")
    logging.disable(logging.NOTSET)
    return disagreements, unbalanced, tally


if __name__ == "__main__":
    sys.exit(main())
