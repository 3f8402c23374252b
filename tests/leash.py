"""Ties the processes that tests start to the tests' own: none is left when that is killed."""

from __future__ import annotations

from recorder.service import Leash

LEASH = Leash()
