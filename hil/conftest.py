from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from hil import report as page
from hil.cuts.tally import Tally
from hil.vm.ready import Ready, ready, why_not

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: By test, what it says in the table at the end.
LINES = pytest.StashKey[dict[str, str]]()
#: Of all cuts of the power.
TALLY = pytest.StashKey[Tally]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "short: belongs to the bench's short set")
    config.stash[LINES] = {}
    config.stash[TALLY] = Tally()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Puts what a test found into the table at the end, with its name and its seconds."""
    found: list[str] = []
    begin_s = time.monotonic()
    yield found.append
    name = request.node.nodeid.partition("[")[2].rstrip("]") or request.node.name
    line = f"{name:20} {time.monotonic() - begin_s:4.0f} s  {'; '.join(found)}"
    request.config.stash[LINES][request.node.nodeid] = line
    request.node.user_properties.append(("told", "; ".join(found)))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """The figures of all cuts; they are the last lines."""
    return request.config.stash[TALLY]


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
    tally = terminalreporter.config.stash[TALLY]
    if tally.cuts:
        terminalreporter.write_line("\n".join(tally.lines()))


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.option.xmlpath is not None:  # written by now
        page.main([])
