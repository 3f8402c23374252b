"""Stands in for Raspberry Pi's pykms, which Debian has not; picamera2 shows nothing here."""


class _Names(type):
    def __getattr__(cls, name: str) -> str:
        return name


class PixelFormat(metaclass=_Names):
    """Every format is its name."""
