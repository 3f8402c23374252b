"""What the station says no with; Flight turns each into its gRPC code.

Arrow's Flight server cannot send ALREADY_EXISTS or FAILED_PRECONDITION, which mosaicod uses; here
both are INVALID_ARGUMENT with the same words, and a client that asks instead of interpreting codes
meets no difference.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.flight as fl


class RefusedError(pa.ArrowInvalid):  # type: ignore[misc]  # pyarrow ships no types
    """The request is malformed or does not fit the object's state (INVALID_ARGUMENT)."""


class UnknownError(pa.ArrowKeyError):  # type: ignore[misc]  # pyarrow ships no types
    """There is no such sequence, session or topic (NOT_FOUND)."""


class ForbiddenError(fl.FlightUnauthorizedError):  # type: ignore[misc]  # pyarrow ships no types
    """The key, or the topic's uuid, does not allow this (PERMISSION_DENIED)."""
