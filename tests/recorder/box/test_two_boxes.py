"""A card that was copied into another box: two roots, one ground station, real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient
from recorder.session.session import Session
from tests.known import known
from tests.recorder.box.boxes import Box, answered, boxes
from tests.recorder.building import wait_until

A, B = "10000000aaaaaaaa", "10000000bbbbbbbb"


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[GroundStation]:
    with GroundStation(tmp_path / "ground", check_keys=True) as running:
        yield running


def enroll(box: Box, ground: Path) -> str:
    """Ask for a key, have it answered, enroll it; return its name."""
    request, answer = box.folder / "request.json", box.folder / "answer.json"
    box.call("key", "request", "-o", request)
    answer.write_text(answered(ground, request))
    said = box.call("key", "enroll", answer)
    return said.partition("…")[2][:8]


def sequences(station: GroundStation, key: str) -> dict[str, str]:
    """Return which recording each sequence holds."""
    with MosaicoClient.connect_url(station.url, api_key=key) as client:
        found = {one: known(client.describe_sequence(one)) for one in client.sequences()}
    recordings = {name: one.user_metadata.get("recording") for name, one in found.items()}
    return {name: one["id"] for name, one in recordings.items() if isinstance(one, dict)}


@dataclass
class Pair:
    """A box, and its copy on another board; both recorded, and the first has a key.

    Args:
        first: the one whose card was copied.
        second: the copy.
        waiting: what was on the card when it was copied.
        own: what the copy recorded.
        key: the first one's, by its name.
    """

    first: Box
    second: Box
    waiting: Session
    own: Session
    key: str


@pytest.fixture
def pair(tmp_path: Path, ground: GroundStation) -> Iterator[Pair]:
    first = Box(tmp_path / "a", A)
    first.configure(ground.url)
    key = enroll(first, tmp_path / "ground")
    with boxes(first):
        waiting = first.record()
        second = first.clone(tmp_path / "b", B)
        with boxes(second):
            yield Pair(first, second, waiting, second.record(), key)


def test_a_copied_card_gets_names_of_its_own(pair: Pair) -> None:
    assert (pair.waiting.vehicle, pair.waiting.details["box"]) == ("veh-042", A)
    assert (pair.own.vehicle, pair.own.details["box"]) == ("veh-042-bbbbbbbb", B)
    assert pair.own.identifier.startswith("veh-042-bbbbbbbb_")
    shown = json.loads(pair.second.call("box", "--json"))
    assert shown["twin"] == {"box": A, "vehicle": "veh-042", "sessions": 1}
    assert (shown["records_as"], shown["key"]) == ("veh-042-bbbbbbbb", "")
    assert json.loads(pair.first.call("box", "--json"))["twin"] is None
    findings = json.loads(pair.second.call("check", "--json"))["box"]
    assert {"a vehicle's name of its own", "a key of its own"} <= {
        one["wanted"] for one in findings
    }


def test_a_copied_card_asks_for_a_key_of_its_own_and_sends_what_is_its_own(
    pair: Pair, tmp_path: Path, ground: GroundStation
) -> None:
    reader = ground.keys.create(["read"])
    # The twin's key is on its card, and it does not use it.
    pair.second.start("upload")
    wait_until(lambda: pair.second.sign("upload").get("state") == "parked")
    assert "API key" in pair.second.sign("upload")["error"]
    assert sequences(ground, reader) == {}
    request = json.loads(pair.second.call("key", "request"))
    assert (request["box"], request["vehicle"]) == (B, "veh-042-bbbbbbbb")
    assert enroll(pair.second, tmp_path / "ground") != pair.key
    wait_until(lambda: pair.second.sign("upload").get("done") == [pair.own.id])
    pair.second.end("upload")
    purposes = {str(one["description"]) for one in ground.keys.listed()}
    assert {f"box {A} (veh-042)", f"box {B} (veh-042-bbbbbbbb)"} <= purposes

    # What the card came with is the twin's to send: the server has one of each.
    assert list(sequences(ground, reader).values()) == [pair.own.id]
    pair.first.start("upload")
    wait_until(lambda: pair.first.sign("upload").get("done") == [pair.waiting.id])
    pair.first.end("upload")
    names = {value: name for name, value in sequences(ground, reader).items()}
    assert set(names) == {pair.own.id, pair.waiting.id}
    assert names[pair.own.id].startswith("veh-042-bbbbbbbb-2")
    assert names[pair.waiting.id].startswith("veh-042-2")


def test_a_key_that_the_configuration_names_is_the_twins_too(
    tmp_path: Path, ground: GroundStation
) -> None:
    first = Box(tmp_path / "a", A)
    first.configure(ground.url, 'key_file = "key"')
    token = ground.keys.create(["read", "write"])
    (tmp_path / "a" / "key").write_text(f"{token}\n")
    (tmp_path / "a" / "key").chmod(0o600)
    with boxes(first):
        first.record()
        assert "on the server" in first.call("upload")
        second = first.clone(tmp_path / "b", B)
        second.record()
        said = second.call("upload", code=2)
        assert f"this API key is of box {A}, which this card was copied from" in said
        assert "recorder key request" in said
        assert f"this is the key of box {A}" in second.call(
            "key", "enroll", tmp_path / "b" / "key", code=1
        )
        enroll(second, tmp_path / "ground")
        assert "on the server" in second.call("upload")


def test_a_card_that_was_moved_is_adopted_and_sends_what_it_came_with(
    tmp_path: Path, ground: GroundStation
) -> None:
    first = Box(tmp_path / "a", A)
    first.configure(ground.url)
    with boxes(first):
        enroll(first, tmp_path / "ground")
        waiting = first.record()
        moved = Box(tmp_path / "a", B)
        own = moved.record()
        assert own.vehicle == "veh-042-bbbbbbbb"
        assert "if the card was moved" in moved.call("box")
        assert "adopted" in moved.call("box", "--adopt")
        assert moved.record().vehicle == "veh-042"
        assert f"{waiting.id}: on the server" in moved.call("upload")
        assert "nothing to adopt" in moved.call("box", "--adopt", code=1)


def test_one_recording_of_the_twin_can_be_sent_by_hand(
    tmp_path: Path, ground: GroundStation
) -> None:
    first = Box(tmp_path / "a", A)
    first.configure(ground.url)
    with boxes(first):
        waiting = first.record()
        second = first.clone(tmp_path / "b", B)
        second.record()
        enroll(second, tmp_path / "ground")
        assert f"{waiting.id}: on" not in second.call("upload")
        assert f"{waiting.id}: on the server" in second.call("upload", waiting.id[:8])


def test_a_key_is_enrolled_and_rotated_by_dropping_a_file(
    tmp_path: Path, ground: GroundStation
) -> None:
    box = Box(tmp_path / "a", A)
    box.configure(ground.url)
    request = tmp_path / "request.json"
    keys = box.config.keys_dir
    keys.mkdir(parents=True)
    with boxes(box):
        box.call("key", "request", "-o", request)
        foreign = json.loads(answered(tmp_path / "ground", request)) | {"box": B}
        (keys / "foreign.json").write_text(json.dumps(foreign))
        (keys / "first.json").write_text(answered(tmp_path / "ground", request))
        one = box.record()
        box.start("upload")
        wait_until(lambda: box.sign("upload").get("done") == [one.id])
        assert sorted(path.name for path in keys.iterdir()) == [f"{A}.key", "foreign.json", "used"]
        assert (keys / f"{A}.key").stat().st_mode & 0o777 == 0o600

        # The old one ends, and the new one comes, while the process runs.
        old = json.loads(box.call("box", "--json"))["key"]
        ground.keys.revoke(old)
        (keys / ".draft").write_text(answered(tmp_path / "ground", request))
        (keys / ".draft").rename(keys / "second.json")
        two = box.record()
        wait_until(lambda: two.id in box.sign("upload").get("done", []))
        assert json.loads(box.call("box", "--json"))["key"] != old
        box.end("upload")
