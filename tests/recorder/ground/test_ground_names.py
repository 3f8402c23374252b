"""Names and metadata keys."""

from __future__ import annotations

import pytest

from recorder.errors import RemoteRefusedError
from recorder.ground import names
from recorder.ground.refusals import RefusedError


@pytest.mark.parametrize("name", ["drive", "7", "veh-042_20240102T030405-ab", "a" * 128])
def test_a_good_sequence_name_passes(name):
    assert names.check_sequence(name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", "_a", "a b", "a.b", "a/b", "a:b", "ä", "a" * 129, "a\n", "a%"]
)
def test_a_bad_sequence_name_is_refused(name):
    with pytest.raises(RefusedError, match="sequence name"):
        names.check_sequence(name)


def test_a_topic_locator_is_split_at_its_first_slash():
    assert names.check_topic("drive/camera/front_1/p000017-r1") == (
        "drive",
        "camera/front_1/p000017-r1",
    )


@pytest.mark.parametrize(
    "locator", ["drive", "drive/", "drive//a", "drive/a/", "drive/a//b", "drive/a b", "drive/-a"]
)
def test_a_bad_topic_locator_is_refused(locator):
    with pytest.raises(RefusedError, match="topic name"):
        names.check_topic(locator)


@pytest.mark.parametrize("key", ["", "a.b", "a--b", "ä", "a/b"])
def test_a_bad_metadata_key_is_refused_however_deep_it_lies(key):
    for metadata in ({key: 1}, {"a": {key: 1}}, {"a": [{"b": {key: 1}}]}):
        with pytest.raises(RefusedError, match="metadata key"):
            names.check_metadata(metadata)


def test_null_metadata_is_an_empty_object_and_a_list_is_refused():
    assert names.check_metadata(None) == {}
    with pytest.raises(RefusedError):
        names.check_metadata([])


def test_the_station_applies_the_rules_at_every_creation(client, bench):
    session, _ = bench.drive(client)
    for create in (
        lambda: client.create_sequence("a.b", {}),
        lambda: client.create_sequence("good", {"a.b": 1}),
        lambda: bench.topic(client, session, "drive/a//b"),
        lambda: bench.topic(client, session, "drive"),
    ):
        with pytest.raises(RemoteRefusedError, match="invalid"):
            create()
    assert client.sequences() == ["drive"]


def test_metadata_come_back_as_they_were_given(client):
    given = {"recording": {"id": "0190-ab", "n": 9_007_199_254_740_993, "x": [1.5, None, "ü"]}}
    client.create_sequence("drive", given)
    assert client.describe_sequence("drive").user_metadata == given
