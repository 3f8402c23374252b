"""Where recordings are looked for: a spool with the uploader's journals beside it, or a server."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import click

from recorder.errors import SpoolError, SpoolFormatError
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.leases import Deliveries, evicted_by, evicted_rows, settle
from recorder.spool.receipts import final_session
from recorder.spool.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.mosaico import MosaicoClient, SequenceInfo, TopicInfo

_SUMMARY, _HEARTBEATS = "recorder/summary", "recorder/session"


def open_spool(place: Path) -> Spool:
    """Open a spool.

    Args:
        place: the spool itself, or the recorder's directory around it.

    Raises:
        click.BadParameter: there is none.
        SpoolFormatError: it is of a format that this version does not know.
    """
    for directory in (place, place / "spool"):
        try:
            return Spool(directory)
        except SpoolFormatError:
            raise
        except SpoolError:
            continue
    raise click.BadParameter(f"{place} is no spool, and none is in it (a spool has a file FORMAT)")


def from_spool(spool: Spool) -> list[dict[str, Any]]:
    """Return the newest record of every session in a spool, oldest first.

    What the uploader settled stands above the spool's own; without that, what was delivered and
    given up since the last heartbeat is counted here. Each has one key more than a session
    record: `destination`, ``spool`` if the recording was to stay there (upload off), else
    ``server``. A session whose journal has no whole record is named on stderr and left out.

    Raises:
        OSError: the spool cannot be read.
    """
    upload_dir = spool.directory.parent / "upload"
    found: list[dict[str, Any]] = []
    for session_id in spool.session_ids():
        try:
            final = final_session(upload_dir / session_id)
            session = final or spool.session(session_id)
        except SpoolError as error:
            click.echo(f"{error} (its journal holds no whole record)", err=True)
        else:
            if final is None:
                _settle(session, spool.entries(session_id), Deliveries(upload_dir / session_id))
            is_here = final is None and session.state.is_terminal
            found.append({**session.to_dict(), "destination": "spool" if is_here else "server"})
    return found


def _settle(session: Session, entries: list[dict[str, Any]], told: Deliveries) -> None:
    told.look()
    evicted = evicted_rows(evicted_by(entries), told.rows)
    for one in session.lanes:
        if session.state.is_terminal:  # the spool was where it was to go
            one.delivered -= evicted[one.name] - one.lost_evicted
            one.lost_evicted = evicted[one.name]
        else:
            settle(one, told.delivered(one.name), evicted[one.name])


def from_server(url: str, key_file: Path | None, certificate: Path | None) -> list[dict[str, Any]]:
    """Return the newest record of every recording on a server, oldest first.

    Each has two keys more than a session record: `sequence`, its name on the server, and
    `is_announcement`: the server was told that it began, and nothing since.

    Raises:
        RemoteError: the server cannot be asked, or refuses.
    """
    mosaico = importlib.import_module("recorder.mosaico")  # 50 MB that a look at a spool can spare
    key = None if key_file is None else key_file.read_text().strip()
    roots = None if certificate is None else certificate.read_bytes()
    found: list[dict[str, Any]] = []
    with mosaico.MosaicoClient.connect_url(url, api_key=key, tls_root_certs=roots) as client:
        for name in client.sequences():
            info = client.describe_sequence(name)
            if info is not None and "recording" in info.user_metadata:
                found.append({**_record(client, info), "sequence": name})
    return sorted(found, key=lambda one: one["start_utc_ns"] or 0)


def _record(client: MosaicoClient, info: SequenceInfo) -> dict[str, Any]:
    """Return the terminal record, else that of the last heartbeat, else what was announced.

    The key `is_announcement` is added to it.
    """
    for path in (_SUMMARY, _HEARTBEATS):
        start = f"{info.name}/{path}"
        topics = [one for one in info.topics if one.locator.startswith(start) and one.last_ns]
        if topics:
            newest = max(topics, key=lambda one: one.last_ns or 0)
            return {**_last_row(client, newest), "is_announcement": False}
    facts = info.user_metadata["recording"]
    known = {key: facts[key] for key in Session.__dataclass_fields__ if key in facts}
    known["lanes"] = [LaneLedger.from_dict(one) for one in facts["lanes"]]
    known["start_utc_ns"] = facts["start_ns"]
    return {**Session(**known).to_dict(), "is_announcement": True}


def _last_row(client: MosaicoClient, topic: TopicInfo) -> dict[str, Any]:
    text = "{}"
    for batch in client.read(topic.locator, start_ns=topic.last_ns):
        text = batch.column("data")[-1].as_py()
    return Session.from_dict(json.loads(text)).to_dict()
