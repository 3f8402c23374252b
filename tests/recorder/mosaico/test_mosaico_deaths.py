"""Programs that end while they write, under every pair of policies, and what the server holds."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from recorder.mosaico import SessionLevelErrorPolicy, TopicLevelErrorPolicy
from tests.known import known
from tests.recorder.building import wait_until
from tests.recorder.mosaico.conftest import Held

PAIRS = [*itertools.product(SessionLevelErrorPolicy, TopicLevelErrorPolicy)]
NAMES = [f"{session.name}-{topic.name}" for session, topic in PAIRS]
#: Three rows were sent, two more pushed. Nobody said anything, and nothing is finalized.
CUT_OFF = Held({"a": (3, False), "b": (3, False)}, [False], 0)
#: Everything that was pushed, a note that says why it ended, and a finalized session.
REPORTED = Held({"a": (5, True), "b": (5, True)}, [True], 1)


@contextmanager
def program(station, how):
    """Run the program; yields it when it has written."""
    command = [sys.executable, "-m", "tests.recorder.mosaico.writing", station.url, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert known(running.stdout).readline() == "written\n"
            yield running
        finally:
            running.kill()


def rows_arrived(client, asked):
    """Whether all rows that were sent are on the server."""
    return all(asked.rows_of(client, f"{name}/{topic}") == 3 for name in NAMES for topic in "ab")


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_is_killed_commits_nothing_whatever_the_policies(
    station, client, asked, death
):
    with program(station, "wait") as running:
        wait_until(lambda: rows_arrived(client, asked))
        running.send_signal(death)
        assert running.wait(30) == -death
    wait_until(lambda: station.open_uploads == 0)
    assert {name: asked.held(client, name) for name in NAMES} == dict.fromkeys(NAMES, CUT_OFF)


@pytest.mark.parametrize(("how", "code"), [("handle", 143), ("exit", 3)])
def test_a_program_that_exits_in_order_carries_out_its_sessions_policies(
    station, client, asked, how, code
):
    with program(station, how) as running:
        if how == "handle":
            running.send_signal(signal.SIGTERM)
        assert running.wait(60) == code
    expected = {name: REPORTED if name.startswith("Report") else None for name in NAMES}
    assert {name: asked.held(client, name) for name in NAMES} == expected
    [noted] = client.notifications(NAMES[0])
    assert noted.text.startswith(f"SystemExit: {code} [session ")


def test_a_program_that_ends_with_its_writers_open_commits_nothing(station, client, asked):
    with program(station, "forget") as running:
        assert running.wait(60) == 4
    wait_until(lambda: station.open_uploads == 0)
    for name in NAMES:
        held = known(asked.held(client, name))
        assert [is_locked for _, is_locked in held.topics.values()] == [False, False]
        assert (held.sessions_locked, held.notes) == ([False], 0)


def test_a_program_with_a_stuck_topic_ends_and_says_why_and_commits_nothing(
    station, client, asked, gate
):
    command = [sys.executable, "-m", "tests.recorder.mosaico.writing", station.url, "stick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "RemoteAwayError" in done.stderr
    assert "stuck/camera: nothing moved for 0.5 s" in done.stderr
    gate.set()
    wait_until(lambda: station.open_uploads == 0)
    held = known(asked.held(client, "stuck"))
    assert (held.topics["camera"][1], held.sessions_locked, held.notes) == (False, [False], 1)
