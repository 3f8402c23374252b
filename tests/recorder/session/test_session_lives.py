from __future__ import annotations

import pytest

from recorder.session.session import Session
from tests.recorder.session.machine import CODES, Life


def test_random_lives_never_break_the_published_table() -> None:
    ends = set()
    for seed in range(500):
        one = Life(seed)
        one.run(25)
        ends.add(one.session.state.name)
    assert ends == set(CODES)


def test_a_session_that_forgets_how_it_ended_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "stop", lambda self, _: setattr(self, "recording", "stopped"))
    with pytest.raises(AssertionError):
        test_random_lives_never_break_the_published_table()
