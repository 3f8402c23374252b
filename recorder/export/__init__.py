"""A session out of a spool into files for a laptop: no server, no recorder needed to read them."""

from __future__ import annotations

from recorder.export.export import Export, LaneExport, export_session
from recorder.export.tables import FORMATS

__all__ = ["FORMATS", "Export", "LaneExport", "export_session"]
