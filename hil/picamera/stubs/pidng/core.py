"""What picamera2 imports of it."""


class PICAM2DNG:
    """Never made."""
