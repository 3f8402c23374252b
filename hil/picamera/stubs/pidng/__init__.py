"""Stands in for PiDNG, which Debian has not; nothing is written as a raw negative here."""
