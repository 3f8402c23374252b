"""API keys: which call needs which permission, and what a wrong key is told."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from click.testing import CliRunner

from recorder.cli import recorder
from recorder.errors import RemoteAwayError, RemoteRefusedError
from recorder.ground import GroundStation
from recorder.ground.refusals import RefusedError, UnknownError
from recorder.mosaico import MosaicoClient
from tests.known import known


@pytest.fixture
def station(tmp_path):
    with GroundStation(tmp_path / "ground", check_keys=True) as running:
        yield running


@pytest.fixture
def connect(station):
    opened = []

    def connected(*permissions):
        client = MosaicoClient.connect_url(station.url, api_key=station.keys.create(permissions))
        opened.append(client)
        return client

    yield connected
    for client in opened:
        client.close()


def test_without_a_key_nothing_is_answered(station):
    with pytest.raises(RemoteRefusedError, match="Missing API key in request header"):
        MosaicoClient.connect_url(station.url)
    with fl.FlightClient(station.url) as flight:
        for call in (
            flight.list_actions,
            lambda: list(flight.list_flights()),
            lambda: list(flight.do_action(fl.Action("no such action", b""))),
        ):
            with pytest.raises(fl.FlightUnauthorizedError, match="Missing API key"):
                call()


WRONG_KEYS = {
    "password": "the token is incomplete",
    "msco_{payload}": "the token is incomplete",
    "mosaico_{payload}_{fingerprint}": "the token is incomplete",
    "msco_{payload}x_{fingerprint}": "the token is incomplete",
    "msco_{payload}_{fingerprint}0": "the token is incomplete",
    "msco_{payload}_00000000": "fingerprint mismatch",
}


@pytest.mark.parametrize("form", WRONG_KEYS)
def test_each_malformed_key_is_told_what_is_wrong_with_it(station, form):
    _, payload, fingerprint = station.keys.create(["read"]).split("_")
    wrong = form.format(payload=payload, fingerprint=fingerprint)
    with pytest.raises(RemoteRefusedError, match=WRONG_KEYS[form]) as refusal:
        MosaicoClient.connect_url(station.url, api_key=wrong)
    assert isinstance(refusal.value.__cause__, pa.ArrowInvalid)


def test_a_revoked_key_ends_at_once_also_on_an_open_connection(station):
    key = station.keys.create(["read"])
    with MosaicoClient.connect_url(station.url, api_key=key) as client:
        assert client.sequences() == []
        station.keys.revoke(key[-8:])
        with pytest.raises(RemoteRefusedError, match="does not exist: it was revoked") as refusal:
            client.sequences()
        assert isinstance(refusal.value.__cause__, fl.FlightUnauthorizedError)


def test_a_key_of_another_station_does_not_exist_here(station, tmp_path):
    with GroundStation(tmp_path / "other", check_keys=True) as other:
        foreign = other.keys.create(["read"])
    with pytest.raises(RemoteRefusedError, match="does not exist"):
        MosaicoClient.connect_url(station.url, api_key=foreign)


def test_a_reader_reads_and_nothing_else(connect, bench):
    writer, reader = connect("read", "write"), connect("read")
    session, uuid = bench.drive(writer)
    writer.put("drive/notes", uuid, bench.schema, [bench.batch(1)])
    assert reader.sequences() == ["drive"]
    assert len(list(reader.read("drive/notes"))) == 1
    assert reader.notifications("drive") == []
    for forbidden in (
        lambda: reader.create_sequence("mine", {}),
        lambda: reader.create_session("drive"),
        lambda: bench.topic(reader, session, "drive/mine"),
        lambda: reader.put("drive/notes", uuid, bench.schema, []),
        lambda: reader.finalize_session(session.uuid),
        lambda: reader.notify("drive", "hello"),
        lambda: reader.delete_topic("drive/notes"),
    ):
        with pytest.raises(RemoteRefusedError, match="not enough permissions"):
            forbidden()


def test_what_a_key_may_not_do_is_named_as_mosaicod_names_it(connect):
    reader = connect("read")
    told = "provided API key has not enough permissions to execute SequenceCreate action"
    with pytest.raises(RemoteRefusedError, match=told):
        reader.create_sequence("mine", {})


def test_a_writer_may_not_delete_nor_read(connect, bench):
    writer = connect("write")
    session, _ = bench.drive(writer)
    for forbidden in (
        lambda: writer.delete_topic("drive/notes"),
        lambda: writer.delete_session(session.locator, session.uuid),
        lambda: writer.delete_sequence("drive"),
        writer.sequences,
        lambda: writer.describe_topic("drive/notes"),
        lambda: writer.notifications("drive"),
    ):
        with pytest.raises(RemoteRefusedError, match="not enough permissions"):
            forbidden()


def test_a_key_that_may_delete_deletes_finalized_objects(connect, bench):
    writer, deleter = connect("read", "write"), connect("delete")
    session, uuid = bench.drive(writer)
    writer.put("drive/notes", uuid, bench.schema, [])
    writer.finalize_session(session.uuid)
    deleter.delete_sequence("drive")
    assert writer.sequences() == []


def test_only_a_hash_of_a_key_is_kept(station, tmp_path):
    key = station.keys.create(["read", "write"], "bench laptop")
    [listed] = station.keys.listed()
    assert (listed["permissions"], listed["description"]) == ("read write", "bench laptop")
    for file in (tmp_path / "ground").glob("catalogue.sqlite*"):
        assert key.encode() not in file.read_bytes()
        assert key[5:37].encode() not in file.read_bytes()


def test_a_permission_that_does_not_exist_and_an_unknown_key_are_refused(station):
    for permissions in ([], ["manage"]):
        with pytest.raises(RefusedError):
            station.keys.create(permissions)
    with pytest.raises(UnknownError):
        station.keys.revoke("00000000")


def call(*arguments):
    return CliRunner().invoke(recorder, [str(one) for one in arguments])


def test_keys_are_made_listed_and_revoked_by_command_while_the_station_serves(station, tmp_path):
    command = ("ground", "--dir", tmp_path / "ground")
    key = call(*command, "--new-key", "read,write", "--for", "bench laptop").stdout.strip()
    with MosaicoClient.connect_url(station.url, api_key=key) as client:
        assert client.sequences() == []
        [listed] = json.loads(call(*command, "--list-keys", "--json").stdout)
        assert listed.pop("created_at_ns") > 0
        assert listed == {
            "fingerprint": key[-8:],
            "permissions": "read write",
            "description": "bench laptop",
            "revoked_at_ns": None,
        }
        assert call(*command, "--revoke-key", key[-8:]).exit_code == 0
        with pytest.raises(RemoteRefusedError, match="revoked"):
            client.sequences()
    shown = call(*command, "--list-keys").stdout
    assert key[-8:] in shown
    assert key[5:37] not in shown


def test_wrong_use_of_keys_by_command_is_told(tmp_path):
    command = ("ground", "--dir", tmp_path / "ground")
    unknown = call(*command, "--revoke-key", "00000000")
    assert (unknown.exit_code, unknown.stderr) == (
        1,
        "Error: there is no key 00000000; --list-keys tells which\n",
    )
    assert call(*command, "--new-key", "read", "--list-keys").exit_code == 2


def test_over_tls_a_client_with_the_right_root_writes(tmp_path, bench, certificate):
    with (
        GroundStation(tmp_path / "tls", tls=certificate) as station,
        MosaicoClient.connect("127.0.0.1", station.port, tls_root_certs=certificate[0]) as client,
    ):
        assert station.url.startswith("grpc+tls://")
        _, uuid = bench.drive(client)
        client.put("drive/notes", uuid, bench.schema, [bench.batch(1)])
        assert known(client.describe_topic("drive/notes")).locked


def test_over_tls_a_client_without_the_root_gets_no_connection(tmp_path, certificate):
    with (
        GroundStation(tmp_path / "tls", tls=certificate) as station,
        pytest.raises(RemoteAwayError, match="info"),
    ):
        MosaicoClient.connect_url(station.url, timeout_s=3.0)
