"""``python -m tests.chaos``: upload so often through every kind of fault, and count what it cost.

The exit code is the verdict: 0 if every upload brought every row once, 1 if not. The figures are
the last lines.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.campaign import EVENTS, Plan, Tally, campaign
from tests.chaos.scene import STEPS
from tests.chaos.sweep import sweep
from tests.chaos.verdict import Verdict
from tests.chaos.wrong import BUILDS

_SHOWN_S = 10.0
_SHOWN_PROBLEMS = 8


def main() -> int:
    """Run the campaign, print, and return the exit code."""
    chosen = _arguments()
    # A termination unwinds like an interrupt: processes and folders are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    faults, steps = tuple(chosen.fault or EVENTS), tuple(chosen.step or STEPS)
    plan = Plan(chosen.campaigns, chosen.seed, chosen.wrong, chosen.only, faults, steps)
    sys.stdout.write(f"seed {plan.seed}, build {plan.build}\n")
    tally, found = Tally(), list[dict[str, object]]()
    uploads = sweep(plan.build, tally) if chosen.sweep else campaign(plan, tally)
    begin_s = time.monotonic()
    code = 130
    try:
        code = _run(plan, uploads, tally, found, is_verbose=chosen.verbose)
    except KeyboardInterrupt:
        sys.stdout.write("interrupted\n")
    finally:
        _tell(plan, tally, found, round(time.monotonic() - begin_s, 1), chosen.json)
    return code


def _tell(
    plan: Plan, tally: Tally, found: list[dict[str, object]], seconds: float, file: Path | None
) -> None:
    if file:
        figures = {"seed": plan.seed, "build": plan.build, **tally.to_dict(), "found": found}
        file.write_text(json.dumps({**figures, "seconds": seconds}, indent=2) + "\n")
    sys.stdout.write("".join(f"{line}\n" for line in (f"{seconds:.0f} s", *tally.lines())))


def _run(
    plan: Plan,
    uploads: Iterator[tuple[str, Verdict]],
    tally: Tally,
    found: list[dict[str, object]],
    *,
    is_verbose: bool,
) -> int:
    shown_s = time.monotonic()
    for where, verdict in uploads:
        if verdict.problems:
            found.append({"where": where, "problems": verdict.problems})
            told = "".join(f"    {text}\n" for text in verdict.problems[:_SHOWN_PROBLEMS])
            sys.stdout.write(f"{where}:\n{told}")
        elif is_verbose:
            sys.stdout.write(f"{where}: clean, {verdict.rows} rows\n")
        if time.monotonic() - shown_s > _SHOWN_S:
            shown_s = time.monotonic()
            sys.stdout.write(f"{tally.campaigns} uploads\n")
        sys.stdout.flush()
        if verdict.problems and plan.build != "none":
            break  # it is caught
    return 0 if tally.is_clean else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--campaigns", type=int, default=200, help="how many uploads, 200")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--only", choices=("live", "backlog"), default="", help="of one kind")
    parser.add_argument("--fault", choices=EVENTS, action="append", help="only such; repeatable")
    parser.add_argument("--step", choices=STEPS, action="append", help="die only there; likewise")
    parser.add_argument("--wrong", choices=list(BUILDS), default="none", help="a wrong build")
    parser.add_argument("--sweep", action="store_true", help="each fault once at each step")
    parser.add_argument("--verbose", action="store_true", help="a line for each upload")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
