"""API keys as a user meets them: what each kind of bad key is told, TLS, and keys in files."""

from __future__ import annotations

import uuid

import pytest

from recorder.errors import ConfigError, RemoteAwayError, RemoteForbiddenError, RemoteRefusedError
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient, SessionLevelErrorPolicy, String, ontology, read_key
from tests.recorder.mosaico.conftest import Held


@pytest.fixture
def keyed(tmp_path):
    with GroundStation(tmp_path / "keyed", check_keys=True) as station:
        yield station


def connect(station, key):
    return MosaicoClient.connect_url(station.url, api_key=key)


def test_no_key_is_told_as_missing(keyed):
    with pytest.raises(RemoteForbiddenError, match="no API key was given"):
        connect(keyed, None)


def test_a_cut_and_a_mistyped_key_are_told_as_malformed(keyed):
    key = keyed.keys.create(["read"])
    wrong_digit = "0" if key[-1] != "0" else "1"
    for malformed in (key[:-3], key[:-1] + wrong_digit, "none"):
        with pytest.raises(RemoteForbiddenError, match="the API key is malformed"):
            connect(keyed, malformed)


@pytest.mark.parametrize("key", ["msco_x\n", " msco_x", "msco_\x00", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_told_before_anybody_is_called(key):
    with pytest.raises(RemoteForbiddenError, match="malformed"):
        MosaicoClient.connect("127.0.0.1", 1, api_key=key)


def test_a_revoked_key_is_told_as_revoked_also_in_mid_session(keyed, asked):
    key = keyed.keys.create(["read", "write"])

    def write(client):
        with client.sequence_create("drive", {}) as writer:
            topic = writer.topic_create("notes", {}, String)
            topic.push(asked.note(1))
            keyed.keys.revoke(key[-8:])

    with connect(keyed, key) as client, pytest.raises(RemoteForbiddenError, match="was revoked"):
        write(client)
    with pytest.raises(RemoteForbiddenError, match="the API key was revoked"):
        connect(keyed, key)


def test_a_key_of_another_station_is_told_as_unknown(keyed, tmp_path):
    with GroundStation(tmp_path / "other") as other:
        foreign = other.keys.create(["read", "write", "delete"])
    with pytest.raises(RemoteForbiddenError, match="the API key is unknown or was revoked"):
        connect(keyed, foreign)


def test_a_weak_key_is_told_what_it_may_not_do(keyed):
    with connect(keyed, keyed.keys.create(["read"])) as client:
        with pytest.raises(RemoteForbiddenError, match=r"^sequence_create: .*too weak") as refused:
            client.sequence_create("drive", {}).__enter__()
        assert "sequence_create" in str(refused.value)


def test_a_wrong_topic_uuid_is_not_about_the_key_whatever_the_topics_name(client):
    client.create_sequence("drive", {})
    session = client.create_session("drive")
    client.create_topic(
        session.uuid,
        "drive/revoked",
        ontology_tag="String",
        serialization_format="default",
        metadata={},
    )
    with pytest.raises(RemoteRefusedError, match="wrong topic uuid") as refused:
        client.put("drive/revoked", str(uuid.uuid4()), ontology.schema("String"), [])
    assert not isinstance(refused.value, RemoteForbiddenError)


def test_a_write_key_does_the_whole_workflow_and_a_delete_key_the_policy_delete(keyed, asked):
    reader = connect(keyed, keyed.keys.create(["read"]))

    def write(key, policy, error):
        with connect(keyed, key) as client, client.sequence_create("drive", {}, policy) as writer:
            writer.topic_create("notes", {}, String).push(asked.note(1))
            if error is not None:
                raise error

    write(keyed.keys.create(["write"]), SessionLevelErrorPolicy.Report, None)
    assert asked.held(reader) == Held({"notes": (1, True)}, [True], 0)
    deleter = keyed.keys.create(["write", "delete"])
    with connect(keyed, deleter) as client:
        client.delete_sequence("drive")
    with pytest.raises(ZeroDivisionError):
        write(deleter, SessionLevelErrorPolicy.Delete, ZeroDivisionError())
    assert reader.sequences() == []
    reader.close()


# --- files


def key_file(folder, text="msco_key\n", mode=0o600):
    file = folder / "key"
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_is_read_from_a_file_of_its_owner(tmp_path, mode):
    assert read_key(key_file(tmp_path, mode=mode)) == "msco_key"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_file_that_others_can_use_is_refused_with_its_mode(tmp_path, mode):
    with pytest.raises(ConfigError, match=rf"mode {mode:04o}.*chmod 600"):
        read_key(key_file(tmp_path, mode=mode))


def test_a_link_does_not_hide_the_mode_of_what_it_leads_to(tmp_path):
    (tmp_path / "link").symlink_to(key_file(tmp_path, mode=0o644))
    with pytest.raises(ConfigError, match="0644"):
        read_key(tmp_path / "link")


def test_a_credential_of_systemd_is_taken_with_the_mode_that_systemd_gives_it(
    tmp_path, monkeypatch
):
    file = key_file(tmp_path, mode=0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_key(file) == "msco_key"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError):
        read_key(file)


def test_a_credential_of_a_service_is_taken_by_root_too(tmp_path, monkeypatch):
    monkeypatch.setattr("recorder.key._CREDENTIALS", tmp_path)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    folder = tmp_path / "recorder-upload.service"
    folder.mkdir()
    assert read_key(key_file(folder, mode=0o440)) == "msco_key"
    with pytest.raises(ConfigError):
        read_key(key_file(tmp_path, mode=0o440))


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_key_file_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="holds no API key"):
        read_key(key_file(tmp_path, text))


def test_a_key_file_that_is_absent_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"absent: the API key cannot be read"):
        read_key(tmp_path / "absent")


# --- TLS


def test_each_topics_own_connection_carries_the_key_and_trusts_the_same_root(
    tmp_path, certificate, asked
):
    with GroundStation(tmp_path / "tls", check_keys=True, tls=certificate) as station:
        key = station.keys.create(["read", "write"])
        with MosaicoClient.connect(
            "127.0.0.1", station.port, api_key=key, tls_root_certs=certificate[0]
        ) as client:
            with client.sequence_create("drive", {}) as writer:
                for name in ("a", "b"):
                    writer.topic_create(name, {}, String).push(asked.note(1))
            assert asked.held(client) == Held({"a": (1, True), "b": (1, True)}, [True], 0)


def test_a_server_that_the_systems_roots_do_not_know_gets_no_key(tmp_path, certificate):
    with (
        GroundStation(tmp_path / "tls", check_keys=True, tls=certificate) as station,
        pytest.raises(RemoteAwayError),
    ):
        MosaicoClient.connect_url(station.url, api_key="msco_x", timeout_s=2.0)
