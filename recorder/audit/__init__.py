"""Adding a recording's ledger up again from its rows alone, and holding it against the record.

Nothing here is shared with what wrote the ledger but the readers of the formats: segments and
journals of a spool, tables of a server. So a count that is wrong anywhere on the way shows.
"""

from __future__ import annotations

from recorder.audit.finding import Audit, LaneAudit
from recorder.audit.of_server import audit_server
from recorder.audit.of_spool import audit_spool

__all__ = ["Audit", "LaneAudit", "audit_server", "audit_spool"]
