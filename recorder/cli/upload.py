"""`recorder upload`: what waits in the spool, sent by hand; or the uploader's process."""

from __future__ import annotations
