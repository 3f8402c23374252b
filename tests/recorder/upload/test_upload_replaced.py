"""A recording that is sent anew to the server that has it: which of its sequences counts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from recorder.audit import audit_server
from recorder.cli import recorder
from recorder.errors import RemoteAwayError
from recorder.ground.observe import Address, Observer
from recorder.ground.watch import Watch
from recorder.mosaico import MosaicoClient
from recorder.uploader import Asked, upload_once


def call(*arguments):
    return CliRunner().invoke(recorder, [str(one) for one in arguments])


def cut(monkeypatch, path):
    """Let the link break whenever a topic of this path is made."""
    create = MosaicoClient.create_topic

    def broken(client, session, locator, **facts):
        if f"/{path}" in locator:
            raise RemoteAwayError("cut")
        return create(client, session, locator, **facts)

    monkeypatch.setattr(MosaicoClient, "create_topic", broken)


def send(config, drive, monkeypatch, *, anew="", until=""):
    """Upload the recording, if wanted only until the link breaks; return its newest sequence.

    Anew it goes to the same server by another name.
    """
    if anew:
        url = config.upload.server.replace("127.0.0.1", "localhost")
        config = replace(config, upload=replace(config.upload, server=url))
    with monkeypatch.context() as link:
        if until:
            cut(link, until)
            with pytest.raises(RemoteAwayError):
                upload_once(config, asked=Asked(drive.id, anew=anew))
        else:
            upload_once(config, asked=Asked(drive.id, anew=anew))
    with MosaicoClient.connect_url(config.upload.server) as client:
        return max(client.sequences(), key=len)


@pytest.fixture
def config(drive, station):
    drive.tell_time()
    drive.imu(20)
    drive.end()
    return drive.config(station.url)


def seen(url):
    with Observer(Address(url)) as observer:
        return {one.sequence: one for one in observer.recordings()}


def replayed(url, recording_id):
    """Replay a recording; return how many IMU rows came and what was told beside."""
    result = call("replay", recording_id, "--server", url, "--topic", "imu")
    assert result.exit_code == 0
    return len(result.stdout.splitlines()), result.stderr


def shown(url, recording_id):
    """Show a recording and list all; return what both say is being sent in its place."""
    record = json.loads(call("show", recording_id, "--server", url, "--json").stdout)
    sequence, anew = record["sequence"], record["sent_anew_as"]
    note = f"{sequence} counts until {anew}, which replaces it, is whole" if anew else ""
    listed = call("sessions", "--server", url).stderr.splitlines()
    assert [one for one in listed if one.startswith("note")] == ([f"note: {note}"] if note else [])
    told = " ".join(call("show", recording_id, "--server", url).stdout.split())
    assert ("sent anew" in told, note in told) == (bool(note), True)
    return anew


def noted(url, recording_id):
    with MosaicoClient.connect_url(url) as client:
        return [one for one in audit_server(client, recording_id).notes if "replaces" in one]


@pytest.mark.parametrize("until", ["imu", "recorder/summary"])
def test_the_earlier_one_that_is_whole_counts_until_the_new_one_is(
    drive, station, config, monkeypatch, until
):
    old = send(config, drive, monkeypatch)
    new = send(config, drive, monkeypatch, anew=drive.id, until=until)
    note = f"{old} counts until {new}, which replaces it, is whole"
    assert replayed(station.url, drive.id) == (200, f"note: {note}\n")
    assert noted(station.url, drive.id) == [note]
    assert shown(station.url, drive.id) == new
    found = seen(station.url)
    assert [found[one].counts for one in (old, new)] == [True, False]
    assert [found[one].sent_anew_as for one in (old, new)] == [new, ""]
    assert found[old].life == "ended"
    assert found[new].life != "replaced"

    assert send(config, drive, monkeypatch, anew=drive.id) == new
    assert replayed(station.url, drive.id) == (200, "")
    assert noted(station.url, drive.id) == []
    assert shown(station.url, drive.id) == ""
    found = seen(station.url)
    assert [found[one].counts for one in (old, new)] == [False, True]
    assert (found[old].life, found[old].replaced_by) == ("replaced", new)


def test_of_two_that_are_not_whole_the_one_that_still_grows_counts(
    drive, station, config, monkeypatch
):
    old = send(config, drive, monkeypatch, until="recorder/summary")
    new = send(config, drive, monkeypatch, anew=drive.id, until="recorder/summary")
    found = seen(station.url)
    assert [found[one].counts for one in (old, new)] == [False, True]
    assert found[old].replaced_by == new
    assert replayed(station.url, drive.id) == (200, "")


def test_a_person_sees_one_recording_and_all_sequences_when_asked(
    drive, station, config, monkeypatch
):
    old = send(config, drive, monkeypatch)
    new = send(config, drive, monkeypatch, anew=drive.id)
    listed = call("sessions", "--server", station.url, "--json")
    assert [one["sequence"] for one in json.loads(listed.stdout)] == [new]
    assert "not listed: 1" in listed.stderr
    every = call("sessions", "--server", station.url, "--json", "--all")
    lives = {one["sequence"]: one["life"] for one in json.loads(every.stdout)}
    assert lives == {old: "replaced", new: "ended"}
    assert every.stderr == ""
    assert call("show", drive.id, "--server", station.url).exit_code == 0
    assert call("watch", "--once", "--server", station.url).exit_code == 0


def test_the_one_that_still_grows_is_abandoned_by_the_recordings_id(
    drive, station, config, monkeypatch
):
    send(config, drive, monkeypatch)
    new = send(config, drive, monkeypatch, anew=drive.id, until="imu")
    with Observer(Address(station.url)) as observer:
        assert Watch(observer).abandon(drive.id).sequence == new
        assert len(observer.client.notifications(new)) == 1
