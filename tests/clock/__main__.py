"""``python -m tests.clock --boots N``: the clock campaign; the last line has the figures."""

from __future__ import annotations

import argparse
import sys

from tests.clock.boot import FAMILIES, FAULTS
from tests.clock.campaign import CALM, Tally, broken, percentile, run, summed


def line(name: str, tally: Tally) -> str:
    """Return a row of the table; times in ms."""
    if not tally.errors:
        return f"{name:24} {tally.boots:6}        (no bound is published)"
    p999 = percentile(tally.errors, 0.999) / 1e6
    mean = sum(tally.bounds) / len(tally.bounds) / 1e6
    return (
        f"{name:24} {tally.boots:6} {len(tally.errors):8} {tally.share:9.5f}"
        f" {p999:12.4f} {mean:12.4f} {tally.ratio:7.2f}"
    )


def main() -> None:
    """Run the campaign and say whether it holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.clock", description=__doc__)
    parser.add_argument("--boots", type=int, default=1000, help="simulated boots (1000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first boot (1)")
    asked = parser.parse_args()
    found = run(asked.boots, asked.seed)
    head = ("boots", "samples", "within", "p99.9 ms", "bound ms", "ratio")
    sys.stdout.write(f"{'':24} {head[0]:>6} {head[1]:>8} {head[2]:>9} {head[3]:>12}")
    sys.stdout.write(f" {head[4]:>12} {head[5]:>7}\n")
    for family in FAMILIES:
        sys.stdout.write(line(family, summed(found, [family])) + "\n")
        sys.stdout.write(line("  without the two below", summed(found, [family], CALM)) + "\n")
    for fault in FAULTS:
        sys.stdout.write(line(fault, summed(found, faults=[fault])) + "\n")
    wrong = broken(found)
    for text in wrong:
        sys.stdout.write(f"does not hold: {text}\n")
    whole = summed(found)
    sys.stdout.write(
        f"clock: {asked.boots} boots, {len(whole.errors)} samples, within bound {whole.share:.5f},"
        f" bound / p99.9 of the error {whole.ratio:.2f}, worst family"
        f" {max(summed(found, [one], CALM).ratio for one in FAMILIES):.2f}\n"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
