"""The one place where Arrow Flight's exceptions become ours, and one open DoPut stream.

Arrow folds gRPC's codes into few classes, and servers use them differently, so the class tells
only two things apart: *away* (ask again later) and *refused* (asking again cannot help). What
really happened on the server is found by asking it.
"""

from __future__ import annotations

import contextlib
import re
import threading
import weakref
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.flight as fl

from recorder.errors import (
    RemoteAwayError,
    RemoteError,
    RemoteForbiddenError,
    RemoteRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

# A dead link shows 3.5 s after it froze while rows are written and 7 s while an answer is awaited
# (64 s without `ping_timeout_ms`), as measured. Pings go out only while a call is open: gRPC's C++
# servers take pings on a resting connection for an attack and hang up.
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.ping_timeout_ms", 3000),
)
# How much of a stream a server may send before we take it. gRPC's own measure grows as long as more
# comes than is taken: a part that was read back cost an uploader 30 to 50 MB (measured).
AHEAD = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024 * 1024))
# With roots that hold none of these, such as a private key, gRPC says that nobody is there, and in
# place of empty ones it takes the system's.
_CERTIFICATE = b"-----END CERTIFICATE-----"
ABORT = b"abort"
ABORT_LIMIT_S = 3.0
# Before and behind the server's sentence stand Arrow's words and the peer's stack trace or gRPC's
# debug dump: nothing for a user's eyes.
_PREFIX = re.compile(r"^(Flight|gRPC) returned .*?, with message: ")
_NOISE = (". Detail:", ". gRPC client debug context", ". Client context:")
_AWAY = (
    fl.FlightUnavailableError,
    fl.FlightTimedOutError,
    fl.FlightCancelledError,
    fl.FlightInternalError,
    fl.FlightServerError,
    OSError,
)
# A message above the server's limit comes back as CANCELLED; sending it again cannot help.
_TOO_LARGE = "message length too large"
# What servers say about a key, in lower case, and what it means in ours. A wrong topic uuid has the
# same gRPC code as a weak key, and a cut key that of any malformed request: only the words differ.
_CUT_KEY = (
    ("token is incomplete", "the API key is malformed"),
    ("fingerprint mismatch", "the API key is malformed"),
)
_OTHER_KEY = (
    ("missing api key", "no API key was given"),
    ("revoked", "the API key was revoked"),
    ("not enough permissions", "the API key is too weak"),
    ("api key does not exist", "the API key is unknown or was revoked"),
    ("api key", "the API key is not accepted"),
)
_QUOTED = re.compile("'[^']*'")  # names, which may be any words
# A proxy or a captive portal answered; gRPC makes UNIMPLEMENTED of its 404. Not our server's no.
_NOT_THE_SERVER = "Received http2 header with status"


def open_flight(url: str, tls_root_certs: bytes | None) -> fl.FlightClient:
    """Prepare a connection; nobody is called yet.

    Raises:
        RemoteRefusedError: the URL is none, or the certificates are none.
    """
    if tls_root_certs is not None and _CERTIFICATE not in tls_root_certs:
        raise RemoteRefusedError(f"connect {url}: the root certificates hold none in PEM")
    with remote_errors(f"connect {url}"):
        return fl.FlightClient(
            url, tls_root_certs=tls_root_certs, generic_options=[*KEEPALIVE, *AHEAD]
        )


def server_text(error: BaseException) -> str:
    """The server's own sentence, without stack traces and debug dumps."""
    text = _PREFIX.sub("", str(error))
    for noise in _NOISE:
        text = text.split(noise, 1)[0]
    return text.strip() or type(error).__name__


@contextlib.contextmanager
def remote_errors(doing: str) -> Iterator[None]:
    """Turn Arrow's errors into ours while `doing` something, e.g. ``topic_create``.

    Raises:
        RemoteAwayError: unavailable, timed out, cancelled, or a fault inside the server.
        RemoteForbiddenError: the server does not take the key.
        RemoteRefusedError: everything else that the server answered.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise _ours(doing, error) from error


def _ours(doing: str, error: Exception) -> RemoteError:
    said = server_text(error)
    told = str(error)
    if (isinstance(error, _AWAY) and _TOO_LARGE not in told) or _NOT_THE_SERVER in told:
        return RemoteAwayError(f"{doing}: {said}")
    about_key = _about_key(error, said)
    if about_key:
        return RemoteForbiddenError(f"{doing}: {about_key}: {said}")
    return RemoteRefusedError(f"{doing}: {said}")


def _about_key(error: Exception, said: str) -> str:
    if isinstance(error, fl.FlightUnauthenticatedError):
        return "the API key is not accepted"
    words: tuple[tuple[str, str], ...] = ()
    if isinstance(error, pa.ArrowInvalid):
        words = _CUT_KEY
    elif isinstance(error, fl.FlightUnauthorizedError):
        words = _CUT_KEY + _OTHER_KEY
    unnamed = _QUOTED.sub("", said).lower()
    return next((ours for theirs, ours in words if theirs in unnamed), "")


class PutStream:
    """The one stream that fills a topic; a context manager.

    Leaving the block cleanly ends the stream, and the server finalizes the topic. Leaving it by
    any exception aborts: Arrow would end the stream cleanly here too and so commit a truncated
    topic; a message without rows makes the server refuse the stream instead, and the topic stays
    Uploading. A stream that is dropped or still open at the interpreter's end aborts as well.

    Args:
        locator: of the topic, for messages.
        writer: Flight's own stream writer, just opened.
        most_batch_bytes: the largest batch that may be sent.
    """

    def __init__(self, locator: str, writer: fl.FlightStreamWriter, most_batch_bytes: int) -> None:
        self._locator = locator
        self._writer = writer
        self._most_batch_bytes = most_batch_bytes
        # Taken by whoever uses the writer. At the interpreter's end these may be two: a thread in
        # the middle of a write, and the abort. gRPC ends the process on both at once.
        self._in_use = threading.Lock()
        self._abort = weakref.finalize(self, _abort, writer, self._in_use)

    def write(self, batch: pa.RecordBatch) -> None:
        """Send one record batch; blocks while the server is slower than we are.

        Nothing is durable on the server before `finish` returned.

        Raises:
            RemoteRefusedError: the batch is above the server's limit (nothing was sent and the
                stream is usable), or the server refused the stream.
            RemoteAwayError: the link or the server is gone.
        """
        size_bytes = pa.ipc.get_record_batch_size(batch)
        if size_bytes > self._most_batch_bytes:
            raise RemoteRefusedError(
                f"put {self._locator}: a batch of {size_bytes} bytes is above the limit"
                f" of {self._most_batch_bytes}"
            )
        with self._in_use, remote_errors(f"put {self._locator}"):
            self._writer.write_batch(batch)

    def finish(self) -> None:
        """End the stream and wait for the server's OK: then the topic is finalized.

        Raises:
            RemoteAwayError: no answer; whether the topic is finalized must be asked.
            RemoteRefusedError: the server refused the stream.
        """
        with self._in_use, remote_errors(f"put {self._locator}"):
            self._writer.done_writing()
            self._writer.close()
        self._abort.detach()

    def abort(self) -> None:
        """Break the stream so that the topic is not finalized; may be called twice."""
        self._abort()

    def __enter__(self) -> PutStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.abort()


def _abort(writer: fl.FlightStreamWriter, in_use: threading.Lock) -> None:
    if not in_use.acquire(timeout=ABORT_LIMIT_S):
        return  # stuck in a write; the process ends with it, and that breaks the stream as well
    try:
        # The server's refusal of this message is what we want; a dead link aborts just as well.
        with contextlib.suppress(pa.ArrowException, OSError):
            writer.write_metadata(ABORT)
            writer.close()
    finally:
        in_use.release()
