"""Real JPEG pictures that show a number and a time, for people and for machines.

For machines the number's low 32 bits are a row of white (1) and black (0) blocks along the lower
edge, most significant first; `read_number` reads them back.

What a drawing lacks of the size that was asked for stands in comments (COM, up to 64 KiB each)
behind the JFIF head: noise, so that nothing on the way can make it small.
"""

from __future__ import annotations

import io
import math
import random

from PIL import Image, ImageDraw, ImageFont

BITS = 32
JPEG_QUALITY = 75
BLACK, GREY, WHITE = 0, 127, 255
COMMENT = b"\xff\xfe"
#: A comment's length counts its own two bytes; its mark is not in it.
MOST_COMMENT, LENGTH_BYTES = 65_535, 2


class Pictures:
    """Draws the pictures.

    Args:
        width: in pixels, at least 320, a multiple of 32.
        height: in pixels, at least 240.
        size_bytes: a smaller picture is filled up to that, or 3 bytes more; 0: as it comes.
    """

    def __init__(self, width: int, height: int, size_bytes: int = 0) -> None:
        self.width = width
        self.height = height
        self._size_bytes = size_bytes
        self._noise = random.Random(0).randbytes(min(size_bytes, MOST_COMMENT))
        self._block = width // BITS
        self._font = ImageFont.load_default(size=height / 6)
        self._street = self._background()

    def draw(self, number: int, t_s: float) -> bytes:
        """Return the JPEG file of a frame.

        Args:
            number: at least 0.
            t_s: the time to show, in seconds.
        """
        shift = number * 8 % self.width
        picture = self._street.crop((shift, 0, shift + self.width, self.height))
        pen = ImageDraw.Draw(picture)
        pen.text((self.width / 32, self.height / 12), f"{number:08d}", WHITE, self._font)
        pen.text((self.width / 32, self.height / 3), f"{t_s:11.3f} s", WHITE, self._font)
        top = self.height - 2 * self._block
        for place in range(BITS):
            left = place * self._block
            white = number >> (BITS - 1 - place) & 1
            pen.rectangle(
                (left, top, left + self._block - 1, self.height), WHITE if white else BLACK
            )
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=JPEG_QUALITY)
        return self._filled_up(file.getvalue())

    def _filled_up(self, picture: bytes) -> bytes:
        """Put comments behind the JFIF head; none is shorter than its own four bytes."""
        head = 4 + int.from_bytes(picture[4:6], "big")
        left = self._size_bytes - len(picture)
        comments: list[bytes] = []
        while left > 0:
            length = min(max(left - len(COMMENT), LENGTH_BYTES), MOST_COMMENT)
            comments += (COMMENT, length.to_bytes(LENGTH_BYTES, "big"))
            comments.append(self._noise[: length - LENGTH_BYTES])
            left -= len(COMMENT) + length
        return b"".join((picture[:head], *comments, picture[head:]))

    def _background(self) -> Image.Image:
        """Return something twice as wide as a picture that costs a JPEG encoder some bytes."""
        wide = self.width
        waves = bytes(
            int(90 + 30 * math.sin(x / 9) * math.sin(y / 11) + 25 * math.sin(x * y / 900))
            for y in range(self.height)
            for x in range(wide)
        )
        tile = Image.frombytes("L", (wide, self.height), waves)
        street = Image.new("L", (2 * wide, self.height))
        street.paste(tile, (0, 0))
        street.paste(tile, (wide, 0))
        return street


def read_number(picture: bytes) -> int:
    """Return the low 32 bits of the number that a picture shows in its blocks.

    Args:
        picture: a JPEG file made by `Pictures`.

    Raises:
        OSError: it is no picture.
    """
    image = Image.open(io.BytesIO(picture)).convert("L")
    block = image.width // BITS
    middle = (image.height - block) * image.width + block // 2
    row = image.tobytes()[middle : middle + image.width]
    return sum((row[place * block] > GREY) << (BITS - 1 - place) for place in range(BITS))
