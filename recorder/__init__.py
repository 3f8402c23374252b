"""An edge recorder: sensors to a power-cut-proof spool to a Mosaico server."""

__version__ = "0.1.0"
