from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from hil.vm.ready import Ready, ready, why_not

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: By test, what it says in the table at the end.
LINES = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "short: belongs to the bench's short set")
    config.stash[LINES] = {}


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Puts what a test found into the table at the end, with its name and its seconds."""
    found: list[str] = []
    begin_s = time.monotonic()
    yield found.append
    name = request.node.nodeid.partition("[")[2].rstrip("]") or request.node.name
    line = f"{name:20} {time.monotonic() - begin_s:4.0f} s  {'; '.join(found)}"
    request.config.stash[LINES][request.node.nodeid] = line


@pytest.fixture(scope="session")
def saved() -> Ready:
    """The machine that scenarios start from."""
    if reason := why_not():
        pytest.skip(reason)
    return ready()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for word in ("passed", "failed"):
        for report in terminalreporter.stats.get(word, ()):
            line = terminalreporter.config.stash[LINES].get(report.nodeid)
            if line is not None:
                terminalreporter.write_line(f"{word} {line}")
