"""The process: ``python -m recorder.web SETTINGS``."""

from __future__ import annotations

from recorder.service import entry
from recorder.web import main

if __name__ == "__main__":
    entry("web", main)
