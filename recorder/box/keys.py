"""The API key that this box may use at its server: one of its own, never its twin's.

    <spool.directory>/keys/<box>.key     this box's own, 0600; goes before `upload.key_file`
    <spool.directory>/keys/<box>.sealed  the same where the board has a TPM (`recorder.box.seal`)
    <spool.directory>/keys/used          JSON: which key (by its last characters) which box used
    <spool.directory>/keys/*.json        dropped answers to a request for a key; taken, then removed

The folder belongs to the upload process. A request is what `recorder key request` prints; the
ground station answers it (`recorder ground --new-key … --for-request FILE`) with a file that says
for which box its key is. One that is for another box is left alone.
"""

from __future__ import annotations

import json
import logging
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder import durable
from recorder.box import seal
from recorder.box.finding import Finding
from recorder.box.identity import identify
from recorder.errors import ConfigError, RecorderError
from recorder.key import read_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.box.identity import Identity
    from recorder.config import Config

log = logging.getLogger(__name__)

FORMAT = 1
_TOKEN = re.compile(r"msco_([a-z0-9]{32})_([0-9a-f]{8})")
_MOST_BYTES = 4096
_MODE, _USED_MODE = 0o600, 0o640


@dataclass(frozen=True)
class Answer:
    """A key for a box, as the ground station hands it out.

    Args:
        box: for which box it is; empty: for any.
        key: the key.
    """

    box: str
    key: str


def request_of(config: Config, identity: Identity) -> dict[str, Any]:
    """Return what a ground station must know to answer this box's request for a key."""
    return {
        "recorder_key_request": FORMAT,
        "box": identity.box,
        "vehicle": identity.name,
        "server": config.upload.server,
    }


def answer_to(request: object, key: str) -> dict[str, Any]:
    """Return the answer to a request: the key, and the box that it is for.

    Raises:
        RecorderError: it is no request.
    """
    if not isinstance(request, dict) or request.get("recorder_key_request") != FORMAT:
        raise RecorderError("this is no request for a key; `recorder key request` makes one")
    return {"recorder_key": FORMAT, "box": request.get("box"), "key": key}


def read_answer(text: str) -> Answer:
    """Read an answer, or a bare key.

    Raises:
        RecorderError: it is neither, or the key was cut or mistyped.
    """
    box, key = "", text.strip()
    if key.startswith("{"):
        try:
            raw = json.loads(key)
        except ValueError as error:
            raise RecorderError(f"this is no answer to a request for a key: {error}") from error
        if raw.get("recorder_key") != FORMAT or not isinstance(raw.get("key"), str):
            raise RecorderError("this is no answer to a request for a key")
        box, key = str(raw.get("box", "")), raw["key"].strip()
    form = _TOKEN.fullmatch(key)
    if form is None or f"{zlib.crc32(form[1].encode()):08x}" != form[2]:
        raise RecorderError("the key is not whole: it was cut or mistyped")
    return Answer(box, key)


def enroll(config: Config, identity: Identity, text: str) -> str:
    """Keep a key for this box, in place of the one before; durable on return.

    As root, on a board with a TPM, it is sealed at once; otherwise it lies open until `secure`.

    Args:
        config: the resolved configuration.
        identity: which box this is.
        text: an answer, or a bare key.

    Returns:
        The last characters of the key, by which the ground station names it.

    Raises:
        RecorderError: it is for another box, or not whole.
        OSError: it cannot be kept.
    """
    answer = read_answer(text)
    if answer.box not in ("", identity.box):
        raise RecorderError(f"this key is for box {answer.box}; this one is {identity.box}")
    if owner := _owner(config, fingerprint(answer.key), identity):
        raise RecorderError(f"this is the key of box {owner}; this one needs a key of its own")
    config.keys_dir.mkdir(parents=True, exist_ok=True)
    file = seal.open_file(config, identity.box)
    try:
        if seal.is_possible():
            seal.keep(config, identity.box, answer.key)
            durable.remove(file)
            return fingerprint(answer.key)
    except RecorderError as error:
        log.warning("the key is not sealed, and lies open: %s", error)
    durable.replace(file, [f"{answer.key}\n".encode()], _MODE)
    return fingerprint(answer.key)


def secure(config: Config, identity: Identity) -> None:
    """Seal the key of this box if it lies open, and else open the sealed one for the upload.

    Raises:
        RecorderError: the TPM does not do it.
        OSError: it cannot be read or written.
    """
    file = seal.open_file(config, identity.box)
    if not file.exists() and seal.sealed_file(config, identity.box).exists():
        seal.unlock(config, identity.box)
    while file.exists():
        key = read_key(file)
        seal.keep(config, identity.box, key)
        if read_key(file) == key:  # and not one that came meanwhile
            durable.remove(file)


def take_dropped(config: Config) -> bool:
    """Take the answers that somebody put into the folder; return whether a key came.

    What cannot be used stays, is told once in the log, and is looked at again when it changes.
    """
    files = sorted(config.keys_dir.glob("*.json"))
    news = [one for one in files if _seen.get(one) != _stamp(one)]
    taken = False
    for file in news:
        _seen[file] = _stamp(file)
        try:
            with file.open() as opened:
                text = opened.read(_MOST_BYTES)
            told = enroll(config, identify(config), text)
            file.unlink()
        except (RecorderError, OSError, UnicodeDecodeError) as error:
            log.warning("%s: %s", file, error)
        else:
            log.info("key …%s is this box's from now on", told)
            taken = True
    return taken


#: Dropped files that were looked at, and what they were then.
_seen: dict[Path, tuple[int, int]] = {}


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_ctime_ns  # owner and mode keep it from being read, too


def server_key(config: Config) -> str | None:
    """Return the key to use; None if none is configured and none was enrolled.

    Raises:
        ConfigError: it cannot be read or opened, others can use it, or it is another box's.
    """
    identity = identify(config)
    chosen = _own_file(config, identity) or config.upload.key_file
    if chosen is None:
        return None
    key = read_key(chosen)
    name = fingerprint(key)
    if owner := _owner(config, name, identity):
        raise ConfigError(
            f"{chosen}: this API key is of box {owner}, which this card was copied from;"
            " `recorder key request` asks for one of this box's own"
        )
    _note_used(config, name, identity)
    return key


def own_fingerprint(config: Config, identity: Identity) -> str:
    """Return the last characters of this box's own key; empty if it has none, or none is opened."""
    try:
        file = _own_file(config, identity)
        return fingerprint(read_key(file)) if file else ""
    except ConfigError:
        return ""


def take_over(config: Config, identity: Identity, other: str) -> None:
    """Make the keys that the card came with those of this box.

    Args:
        config: the resolved configuration.
        identity: which box this is.
        other: the box that they were of.

    Raises:
        OSError: it cannot be written.
    """
    (config.keys_dir / "used").unlink(missing_ok=True)
    for kind in (".key", ".sealed"):
        came, own = (config.keys_dir / f"{box}{kind}" for box in (other, identity.box))
        if came.exists() and not own.exists():
            came.rename(own)


def of_card(config: Config, identity: Identity) -> Iterator[Finding]:
    """Yield what a copied card lacks: a name, or a key of its own."""
    if identity.twin is None:
        return
    found = f"a card that was made in box {identity.twin.box}"
    moved = "; or `recorder box --adopt` if the card was moved here"
    if identity.name != identity.vehicle:
        mend = f"another name under [vehicle] (it records as {identity.name!r} until then){moved}"
        yield Finding("box", found, "a vehicle's name of its own", mend)
    if config.upload.mode != "off" and not own_fingerprint(config, identity):
        mend = f"`recorder key request` and `recorder key enroll`{moved}"
        yield Finding("box", found, "a key of its own", mend)


def fingerprint(key: str) -> str:
    """Return what names a key without giving it away."""
    form = _TOKEN.fullmatch(key)
    return form[2] if form else f"{zlib.crc32(key.encode()):08x}"


def _own_file(config: Config, identity: Identity) -> Path | None:
    """Return the file to read this box's own key from; None if it has none.

    Raises:
        ConfigError: it is sealed, and was not opened in this boot.
    """
    # One that lies open is newer: it is about to be sealed.
    for file in (seal.open_file(config, identity.box), seal.opened_file(config, identity.box)):
        if file.exists():
            return file
    if (sealed := seal.sealed_file(config, identity.box)).exists():
        raise ConfigError(
            f"{sealed}: not opened by this board's TPM: another one sealed this API key, or it was"
            " cleared (`journalctl -u recorder-key`); `recorder key request` asks for a new one"
        )
    return None


def _used(config: Config) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((config.keys_dir / "used").read_text())
    except (OSError, ValueError):
        return {}
    return found


def _owner(config: Config, name: str, identity: Identity) -> str:
    """Return which other box used a key; empty if none did."""
    owner = _used(config).get(name, identity.box)
    return owner if owner != identity.box else ""


def _note_used(config: Config, name: str, identity: Identity) -> None:
    known = _used(config)
    if name in known or not identity.is_board:  # what is no board's own number proves no copy
        return
    text = json.dumps({**known, name: identity.box}) + "\n"
    try:
        config.keys_dir.mkdir(parents=True, exist_ok=True)
        durable.replace(config.keys_dir / "used", [text.encode()], _USED_MODE)
    except OSError as error:
        log.warning("whose key this is cannot be kept: %s", error)
