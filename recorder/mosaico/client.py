"""The connection that users begin with: everything a server can be asked, and the workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder.errors import RemoteRefusedError
from recorder.mosaico.policies import SessionLevelErrorPolicy
from recorder.mosaico.sequence_updater import SequenceHandler
from recorder.mosaico.sequence_writer import SequenceWriter
from recorder.mosaico.server import TIMEOUT_S, Server

if TYPE_CHECKING:
    from collections.abc import Mapping


class MosaicoClient(Server):
    """A connection to one server, made by `connect` or `connect_url`; a context manager."""

    @classmethod
    def connect(
        cls,
        host: str,
        port: int,
        *,
        api_key: str | None = None,
        tls_root_certs: bytes | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> MosaicoClient:
        """Connect and ask who answers; with root certificates (PEM), over TLS.

        Args:
            host: name or address.
            port: 6726 unless the server was told otherwise.
            api_key: sent with every call; `read_key` takes it from a file.
            tls_root_certs: PEM certificates to trust.
            timeout_s: for each question.

        Raises:
            RemoteAwayError: nobody answers within `timeout_s`.
            RemoteForbiddenError: the key is missing, malformed, revoked or unknown.
            RemoteRefusedError: nobody there speaks Mosaico.
        """
        url = f"{'grpc' if tls_root_certs is None else 'grpc+tls'}://{host}:{port}"
        return cls(url, api_key=api_key, tls_root_certs=tls_root_certs, timeout_s=timeout_s)

    @classmethod
    def connect_url(
        cls,
        url: str,
        *,
        api_key: str | None = None,
        tls_root_certs: bytes | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> MosaicoClient:
        """Connect to ``grpc://host:port`` or ``grpc+tls://host:port``, else like `connect`.

        TLS without root certificates trusts those of the system.
        """
        return cls(url, api_key=api_key, tls_root_certs=tls_root_certs, timeout_s=timeout_s)

    def sequence_create(
        self,
        sequence_name: str,
        metadata: Mapping[str, Any],
        on_error: SessionLevelErrorPolicy = SessionLevelErrorPolicy.Report,
    ) -> SequenceWriter:
        """Begin a new sequence; nothing happens on the server before the ``with`` block."""
        return SequenceWriter(self, sequence_name, metadata, on_error)

    def sequence_handler(self, sequence_name: str) -> SequenceHandler:
        """An existing sequence, in order to add topics to it.

        Raises:
            RemoteRefusedError: there is none of that name.
        """
        if self.describe_sequence(sequence_name) is None:
            raise RemoteRefusedError(f"sequence {sequence_name}: the server has none of this name")
        return SequenceHandler(self, sequence_name)
