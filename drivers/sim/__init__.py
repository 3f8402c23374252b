"""Models of devices and of the world around them: shipped, documented, misbehaving on request."""
