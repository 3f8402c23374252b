"""API keys: made once, shown once, kept only as a hash.

A key is ``msco_`` + 32 lower-case letters and digits + ``_`` + CRC-32 of those 32 as 8 hexadecimal
digits; the last part catches a cut or mistyped key before the catalogue is asked, and names a key
that is to be revoked.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import time
import zlib
from typing import TYPE_CHECKING

from recorder.ground.refusals import ForbiddenError, RefusedError, UnknownError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from recorder.ground.database import Database

HEADER = "mosaico-api-key-token"
READ, WRITE, DELETE = "read", "write", "delete"
PERMISSIONS = (READ, WRITE, DELETE)
_ALPHABET = string.ascii_lowercase + string.digits
_TOKEN = re.compile(r"msco_([a-z0-9]{32})_([0-9a-f]{8})")


class Keys:
    """The keys of one station.

    Args:
        database: shared with the catalogue.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def create(self, permissions: Iterable[str], description: str = "") -> str:
        """Make a key with some of `PERMISSIONS` and return it, for the only time.

        Raises:
            RefusedError: there is no such permission.
        """
        granted = sorted(set(permissions))
        if not granted or not set(granted) <= set(PERMISSIONS):
            raise RefusedError(f"permissions are some of {', '.join(PERMISSIONS)}")
        payload = "".join(secrets.choice(_ALPHABET) for _ in range(32))
        token = f"msco_{payload}_{_fingerprint(payload)}"
        with self._db.change() as db:
            db.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, NULL)",
                (
                    _fingerprint(payload),
                    _hash(token),
                    " ".join(granted),
                    description,
                    time.time_ns(),
                ),
            )
        return token

    def revoke(self, fingerprint: str) -> None:
        """End a key for good, by its last eight digits; `UnknownError` if there is none."""
        with self._db.change() as db:
            done = db.execute(
                "UPDATE keys SET revoked_at_ns = ? WHERE fingerprint = ?",
                (time.time_ns(), fingerprint),
            )
            if done.rowcount != 1:
                raise UnknownError(f"key '{fingerprint}' not found")

    def listed(self) -> list[sqlite3.Row]:
        """All keys, oldest first; none of them can be rebuilt from what is kept."""
        return self._db.ask("SELECT * FROM keys ORDER BY created_at_ns")

    def check(self, token: str | None, permission: str | None, doing: str) -> None:
        """Let a call through.

        Args:
            token: what the call's header said, None without one.
            permission: one of `PERMISSIONS`, or None where any valid key will do.
            doing: the call's name, for the refusal.

        Raises:
            ForbiddenError: no key, an unknown, a revoked or a too weak one.
            RefusedError: what came is not a whole key.
        """
        fingerprint = _checked_fingerprint(token)
        found = self._db.ask("SELECT * FROM keys WHERE fingerprint = ?", fingerprint)
        if not found or not hmac.compare_digest(found[0]["token_sha256"], _hash(token or "")):
            raise ForbiddenError("API key does not exist.")
        if found[0]["revoked_at_ns"] is not None:
            raise ForbiddenError("API key does not exist: it was revoked.")
        if permission is not None and permission not in found[0]["permissions"].split():
            raise ForbiddenError(
                f"provided API key has not enough permissions to execute {doing} action."
            )


def _checked_fingerprint(token: str | None) -> str:
    """The last part of a whole token; what is wrong with others is told in mosaicod's words."""
    if not token:
        raise ForbiddenError("Missing API key in request header.")
    form = _TOKEN.fullmatch(token)
    if form is None:
        raise RefusedError("API key: the token is incomplete")
    if _fingerprint(form[1]) != form[2]:
        raise RefusedError("API key: fingerprint mismatch")
    return form[2]


def _fingerprint(payload: str) -> str:
    return f"{zlib.crc32(payload.encode()):08x}"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
