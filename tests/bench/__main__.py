"""``python -m tests.bench [--json FILE]``: every figure beside its peer's, measured in this run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.bench import write_path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures there")
    chosen = parser.parse_args()
    heading = f"{'what':58} {'ours':>12} {'peer':>12} {'ratio':>8} {'budget':>9}"
    sys.stdout.write(heading + "\n")
    found = []
    for room in (write_path,):
        for figure in room.figures():
            sys.stdout.write(f"{figure}\n")
            sys.stdout.flush()
            found.append(figure)
    if chosen.json:
        chosen.json.write_text(write_path.as_json(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
