"""``python -m tests.powercut``: cut the power of a recorder so often, and count what it cost.

The exit code is the verdict: 0 if every promise was kept at every cut, 1 if not, 2 if this machine
cannot run the campaign. The figures are the last lines. It needs root, FUSE and loop devices, and
some 500 MB of memory.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from pathlib import Path

from tests.powercut import disk
from tests.powercut.campaign import VOLUMES, Plan, Tally, campaign
from tests.powercut.disk import DiskError
from tests.powercut.judge import Verdict
from tests.powercut.wrong import BUILDS

_SHOWN_S = 10.0
_SHOWN_PROBLEMS = 5


def main() -> int:
    """Run the campaign, print, and return the exit code."""
    chosen = _arguments()
    lacking = disk.missing()
    if lacking:
        sys.stdout.write(f"cannot cut any power here: {lacking}\n")
        return 2
    # A termination unwinds like an interrupt: what is mounted is unmounted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    disk.be_alone()
    volumes = (chosen.volume,) if chosen.volume else VOLUMES
    plan = Plan(chosen.cuts, chosen.seed, volumes, chosen.wrong)
    sys.stdout.write(f"seed {plan.seed}, build {plan.wrong}, volumes {' '.join(plan.volumes)}\n")
    tally, found = Tally(), list[dict[str, object]]()
    begin_s = time.monotonic()
    code = _run(plan, tally, found)
    sys.stdout.write("".join(f"{line}\n" for line in tally.lines()))
    if chosen.json:
        figures = {"seed": plan.seed, "build": plan.wrong, **tally.to_dict(), "found": found}
        figures["seconds"] = round(time.monotonic() - begin_s, 1)
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")
    return code


def _run(plan: Plan, tally: Tally, found: list[dict[str, object]]) -> int:
    """Run the campaign and return the exit code; what is interrupted counts so far as it came."""
    shown_s = time.monotonic()
    try:
        for where, verdict in campaign(plan, tally):
            if verdict.problems:
                found.append({"where": where, **verdict.to_dict()})
                sys.stdout.write(_told(where, verdict))
            if time.monotonic() - shown_s > _SHOWN_S:
                shown_s = time.monotonic()
                sys.stdout.write(f"{tally.cuts} of {plan.cuts} cuts\n")
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stdout.write("interrupted\n")
        return 130
    except DiskError as error:
        sys.stdout.write(f"no verdict: {error}\n")
        return 1
    return 0 if tally.is_clean else 1


def _told(where: str, verdict: Verdict) -> str:
    lines = "".join(f"    {text}\n" for text in verdict.problems[:_SHOWN_PROBLEMS])
    return f"{where}, during {verdict.during}:\n{lines}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.powercut", description=__doc__)
    parser.add_argument("--cuts", type=int, default=200, help="how often, 200")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--volume", choices=VOLUMES, help="only this kind of file system")
    parser.add_argument("--wrong", choices=list(BUILDS), default="none", help="a wrong build")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
