"""``python -m hil.vm``: make the machine that scenarios start from, if it is not there yet."""

from __future__ import annotations

import sys
import time

from hil.vm.ready import ready, why_not


def main() -> None:
    """Make it, and say what became of it."""
    if reason := why_not():
        sys.stdout.write(f"no virtual machine here: {reason}\n")
        return
    begin_s = time.monotonic()
    found = ready()
    took_s = time.monotonic() - begin_s
    sys.stdout.write(f"{found.saved}: ready after {took_s:.0f} s, booted in {found.boot_s:.0f} s\n")


if __name__ == "__main__":
    main()
