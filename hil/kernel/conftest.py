from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hil.kernel.bench import Bench
from hil.kernel.ready import ready
from hil.vm.ready import why_not

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The machine with every chip behind it, and every driver bound."""
    if reason := why_not():
        pytest.skip(reason)
    machine, saved = ready()
    with machine as one:
        one.wake(saved)
        # A machine that is still busy with itself keeps the adapter's driver waiting for too long.
        one.until("! systemctl is-system-running | grep -E 'initializing|starting'")
        one.run("udevadm settle")
        with closing(Bench(one, tmp_path_factory.mktemp("chips"))) as bench:
            yield bench


@pytest.fixture(autouse=True)
def said(bench: Bench) -> Iterator[None]:
    """pytest shows what the kernel said with what failed."""
    yield
    sys.stdout.write(bench.machine.try_("dmesg | tail -20")[1])
