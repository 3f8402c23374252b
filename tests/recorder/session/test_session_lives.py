from __future__ import annotations

import pytest

from recorder.session.session import Session
from recorder.session.states import TRANSITIONS, State
from tests.recorder.session.machine import CODES, Life
from tests.recorder.session.state_machine import Sessions, run


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


def test_whatever_hypothesis_lets_happen_breaks_no_rule() -> None:
    Sessions.ends.clear()
    run(100)
    assert len(Sessions.ends) > 3


def test_a_table_with_a_wrong_way_is_found_by_hypothesis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSITIONS, (State.closed, "first_sample"), State.open)
    with pytest.raises(AssertionError):
        run(300)


def test_a_default_that_outlasts_the_first_expectation_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recorder.session.quality._counts", lambda *_, delivered: delivered)
    with pytest.raises(AssertionError):
        run(300)
