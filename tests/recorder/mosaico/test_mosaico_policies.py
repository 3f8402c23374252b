"""The policy matrix: what the server holds after each failure under each pair of policies."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest

from recorder.errors import RemoteAwayError, RemoteForbiddenError, RemoteRefusedError
from recorder.ground import GroundStation
from recorder.mosaico import (
    Message,
    MosaicoClient,
    PutStream,
    SessionLevelErrorPolicy,
    String,
    TopicLevelErrorPolicy,
)
from tests.recorder.building import wait_until
from tests.recorder.mosaico.conftest import Held

REPORT, DELETE = SessionLevelErrorPolicy.Report, SessionLevelErrorPolicy.Delete
RAISE, IGNORE, FINALIZE = (
    TopicLevelErrorPolicy.Raise,
    TopicLevelErrorPolicy.Ignore,
    TopicLevelErrorPolicy.Finalize,
)
#: Wrong on purpose: what no type checker lets through, and what no int64 holds.
NO_TEXT: Any = 7
NO_TIME_NS = 2**70


class UserError(Exception):
    """Something in the user's own code."""


class InterruptError(BaseException):
    """Something that comes at any moment, like Ctrl-C."""


class Drive:
    """Three rows into each of two topics, a failure beside the first, two more rows into each."""

    def __init__(self, client, other, link, asked):
        self.client, self._other, self._link, self._asked = client, other, link, asked

    def run(self, session_policy, topic_policy, place):
        with self.client.sequence_create("drive", {}, session_policy) as self.writer:
            self.failing = self.writer.topic_create("failing", {}, String, on_error=topic_policy)
            self.healthy = self.writer.topic_create("healthy", {}, String)
            self._push(1, 2, 3)
            with self.failing:
                getattr(self, place)()
            self._push(4, 5)

    def _push(self, *times_ns):
        for time_ns in times_ns:
            self.failing.push(self._asked.note(time_ns))
            self.healthy.push(self._asked.note(time_ns))

    def push(self):
        self.failing.push(Message(timestamp_ns=9, data=String(data=NO_TEXT)))

    def serialisation(self):
        self.failing.push(self._asked.note(NO_TIME_NS))
        self.failing.flush()

    def link(self):
        self.failing.flush()
        wait_until(lambda: self._asked.rows_of(self._other, "drive/failing") == 3)
        self._link.break_off(1)  # 0 asks, 1 is the first topic that sent something
        self._push_until_broken()

    def refusal(self):
        """Somebody makes the topic anew: the stream of the first one is refused."""
        self._other.delete_topic("drive/failing")
        self._other.create_topic(
            self.writer.session.uuid,
            "drive/failing",
            ontology_tag="String",
            serialization_format="default",
            metadata={},
        )
        self._push_until_broken()

    def _push_until_broken(self):
        """A write returns when gRPC has it; what became of it shows at one of the next."""

        def is_broken():
            self.failing.push(self._asked.note(6))
            self.failing.flush()
            return self.failing.broken

        wait_until(is_broken)

    def code(self):
        raise UserError("boom")

    def exit(self):
        raise SystemExit(3)


@pytest.fixture
def drive(station, link, client, asked):
    with MosaicoClient.connect("127.0.0.1", link.port) as linked:
        yield Drive(linked, client, link, asked)


#: What reaches the caller, by failure.
RAISED = {
    "push": TypeError,
    "serialisation": ValueError,
    "link": RemoteAwayError,
    "refusal": RemoteRefusedError,
    "code": UserError,
    "exit": SystemExit,
}
#: Failures after which the topic goes on if its policy says so, and those after which it never can.
OF_ROWS, OF_STREAM = ("push", "serialisation", "code"), ("link", "refusal")
ALL = [*itertools.product(RAISED, (RAISE, IGNORE, FINALIZE))]


def held_after(place, policy):
    """What the server must hold after Report: rows and end of the failing and the healthy topic."""
    is_isolated = policy is not RAISE and place != "exit"
    healthy = (5, True) if is_isolated else (3, True)
    if place in OF_STREAM:
        return Held(
            {"failing": (3 if place == "link" else 0, False), "healthy": healthy}, [False], 1
        )
    failing = (5, True) if policy is IGNORE and is_isolated else (3, True)
    return Held({"failing": failing, "healthy": healthy}, [True], 0 if is_isolated else 1)


def is_raised(place, policy):
    return policy is RAISE or place == "exit" or place in OF_STREAM


@pytest.mark.parametrize(("place", "policy"), ALL)
def test_under_report_every_row_pushed_before_is_stored(drive, client, asked, place, policy):
    expected = (
        pytest.raises(RAISED[place]) if is_raised(place, policy) else contextlib.nullcontext()
    )
    with expected:
        drive.run(REPORT, policy, place)
    assert asked.held(client) == held_after(place, policy)
    is_noted = policy is not RAISE and place != "exit"
    assert len(client.notifications("drive/failing")) == is_noted
    goes_on = policy is RAISE or place == "exit" or (policy is IGNORE and place in OF_ROWS)
    assert drive.failing.ignored_rows == (0 if goes_on else 2)


@pytest.mark.parametrize(("place", "policy"), ALL)
def test_under_delete_a_failure_that_reaches_the_session_leaves_nothing(
    drive, client, asked, place, policy
):
    if is_raised(place, policy):
        with pytest.raises(RAISED[place]):
            drive.run(DELETE, policy, place)
        assert asked.held(client) is None
    else:
        drive.run(DELETE, policy, place)
        assert asked.held(client) == held_after(place, policy)


def test_the_note_on_the_sequence_names_the_session_and_the_error(drive, client):
    with pytest.raises(UserError):
        drive.run(REPORT, RAISE, "code")
    [noted] = client.notifications("drive")
    assert noted.text == f"UserError: boom [session {drive.writer.session.locator}]"


def test_the_note_on_a_topic_says_which_row_was_left_out(drive, client):
    drive.run(REPORT, IGNORE, "serialisation")
    [noted] = client.notifications("drive/failing")
    assert f"1 rows left out, the first with timestamp_ns {NO_TIME_NS}" in noted.text


def test_a_row_that_cannot_be_encoded_costs_no_other_row_and_is_told_at_the_end(client, asked):
    def write():
        with client.sequence_create("drive", {}) as writer:
            topic = writer.topic_create("notes", {}, String)
            for time_ns in (1, NO_TIME_NS, 3, 4):
                topic.push(asked.note(time_ns))

    with pytest.raises(ValueError, match="1 rows left out"):
        write()
    assert asked.held(client) == Held({"notes": (3, True)}, [True], 1)


@pytest.mark.parametrize("error", [None, UserError("boom")])
def test_the_note_on_the_sequence_tells_of_every_topic_that_left_rows_out(client, asked, error):
    def write():
        with client.sequence_create("drive", {}) as writer:
            for topic in (
                writer.topic_create("a", {}, String),
                writer.topic_create("b", {}, String),
            ):
                topic.push(asked.note(1))
                topic.push(asked.note(NO_TIME_NS))
            if error is not None:
                raise error

    with pytest.raises(ValueError if error is None else UserError):
        write()
    assert asked.held(client) == Held({"a": (1, True), "b": (1, True)}, [True], 1)
    [noted] = client.notifications("drive")
    assert ("UserError: boom" in noted.text) == (error is not None)
    assert "drive/a: 1 rows left out" in noted.text
    assert "drive/b: 1 rows left out" in noted.text


def test_the_push_that_tells_of_an_earlier_row_loses_not_its_own(client, asked):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("notes", {}, String)
        topic.push(asked.note(NO_TIME_NS))
        with pytest.raises(ValueError, match="left out"):
            topic.flush()
        topic.push(asked.note(1))
        topic.flush()
    assert asked.held(client) == Held({"notes": (1, True)}, [True], 0)


def test_report_delivers_every_topic_before_its_note_and_finalizes_after_it(station, client, asked):
    class Watched(MosaicoClient):
        at_the_note = None

        def notify(self, locator, text):
            wait_until(lambda: all(asked.rows_of(client, f"drive/{one}") == 3 for one in "ab"))
            self.at_the_note = asked.held(client)
            super().notify(locator, text)

    def write(watched):
        with watched.sequence_create("drive", {}) as writer:
            for topic in (
                writer.topic_create("a", {}, String),
                writer.topic_create("b", {}, String),
            ):
                for time_ns in range(3):
                    topic.push(asked.note(time_ns))
            raise UserError

    with Watched(station.url) as watched, pytest.raises(UserError):
        write(watched)
    assert watched.at_the_note == Held({"a": (3, False), "b": (3, False)}, [False], 0)
    assert asked.held(client) == Held({"a": (3, True), "b": (3, True)}, [True], 1)


class AnswersLost(MosaicoClient):
    """Its notes arrive, and the first answer does not."""

    lost = 0

    def notify(self, locator, text):
        super().notify(locator, text)
        if not self.lost:
            self.lost += 1
            raise RemoteAwayError("the answer was lost")


def test_a_note_whose_answer_is_lost_is_left_once(station, client, asked):
    def write(losing):
        with losing.sequence_create("drive", {}) as writer:
            writer.topic_create("notes", {}, String).push(asked.note(1))
            raise UserError

    with AnswersLost(station.url) as losing, pytest.raises(UserError):
        write(losing)
    assert losing.lost == 1
    assert asked.held(client) == Held({"notes": (1, True)}, [True], 1)


class NotesRefused(MosaicoClient):
    """A server that takes rows and no notes."""

    def notify(self, locator, text):
        raise RemoteRefusedError("no notes today")


@pytest.mark.parametrize("policy", [IGNORE, FINALIZE])
def test_what_cannot_be_noted_is_raised_whatever_the_topics_policy(station, client, asked, policy):
    def write(refusing):
        with refusing.sequence_create("drive", {}) as writer:
            topic = writer.topic_create("notes", {}, String, on_error=policy)
            topic.push(asked.note(1))
            topic.push(asked.note(NO_TIME_NS))

    with NotesRefused(station.url) as refusing, pytest.raises(RemoteRefusedError, match="no notes"):
        write(refusing)
    # Nobody could be told: the rows are there, and the session stays open as a sign.
    assert asked.held(client) == Held({"notes": (1, True)}, [False], 0)


@pytest.mark.parametrize("policy", [RAISE, IGNORE, FINALIZE])
def test_delete_by_a_key_that_may_not_delete_says_so_and_leaves_the_session_unlocked(
    tmp_path, asked, policy
):
    with GroundStation(tmp_path / "keyed", check_keys=True) as station:
        key = station.keys.create(["read", "write"])
        with MosaicoClient.connect_url(station.url, api_key=key) as client:

            def write():
                with client.sequence_create("drive", {}, DELETE) as writer:
                    topic = writer.topic_create("notes", {}, String, on_error=policy)
                    topic.push(asked.note(1))
                    topic.flush()
                    raise UserError("the user's own")

            with pytest.raises(RemoteForbiddenError, match=r"unlocked: .*too weak") as refused:
                write()
            assert isinstance(refused.value.__cause__, UserError)
            assert asked.held(client) == Held({"notes": (1, False)}, [False], 0)


class NoSession(MosaicoClient):
    """A server that makes sequences and no sessions."""

    def create_session(self, sequence):
        raise RemoteAwayError("nobody there")


@pytest.mark.parametrize(("policy", "left"), [(REPORT, ["drive"]), (DELETE, [])])
def test_a_sequence_whose_session_could_not_be_made_is_removed_under_delete(
    station, client, policy, left
):
    with NoSession(station.url) as lacking, pytest.raises(RemoteAwayError):
        lacking.sequence_create("drive", {}, policy).__enter__()
    assert client.sequences() == left


def test_a_fault_in_the_topics_thread_reaches_the_caller_and_commits_nothing(
    client, asked, monkeypatch
):
    whole_write = PutStream.write

    def interrupted(stream, batch):
        if batch.column("timestamp_ns")[0].as_py() == 2:
            raise InterruptError
        whole_write(stream, batch)

    monkeypatch.setattr(PutStream, "write", interrupted)

    def write():
        with client.sequence_create("drive", {}) as writer:
            topic = writer.topic_create("notes", {}, String)
            for time_ns in (1, 2, 3):
                topic.push(asked.note(time_ns))
                topic.flush()

    with pytest.raises(Exception, match=r"Report failed, .* stays unlocked: .*InterruptError"):
        write()
    assert asked.held(client) == Held({"notes": (1, False)}, [False], 1)


@pytest.mark.parametrize("none_of_ours", ["report", TopicLevelErrorPolicy.Ignore, None])
def test_what_is_no_policy_of_ours_is_refused_before_it_could_delete_anything(client, none_of_ours):
    with pytest.raises(TypeError, match="must be a SessionLevelErrorPolicy"):
        client.sequence_create("drive", {}, none_of_ours)
    with client.sequence_create("drive", {}) as writer:
        with pytest.raises(TypeError, match="must be a TopicLevelErrorPolicy"):
            writer.topic_create("failing", {}, String, on_error=SessionLevelErrorPolicy.Report)
        assert client.describe_topic("drive/failing") is None
