"""The status page and the metrics: the recorder as its own processes see it."""

from __future__ import annotations

from recorder.web.server import main

__all__ = ["main"]
