from __future__ import annotations

import io

import pytest
from PIL import Image

from drivers.sim.pictures import Pictures, read_number


@pytest.mark.parametrize("over", [1, 4, 65_537, 65_538, 200_000])
def test_a_picture_is_filled_up_to_its_size_and_still_is_the_same_picture(over):
    plain = Pictures(320, 240).draw(77, 1.5)
    filled = Pictures(320, 240, len(plain) + over).draw(77, 1.5)
    assert 0 <= len(filled) - len(plain) - over <= 3
    assert read_number(filled) == 77
    pixels = [Image.open(io.BytesIO(one)).tobytes() for one in (plain, filled)]
    assert pixels[0] == pixels[1]


def test_a_picture_that_is_large_enough_stays_as_it_is():
    plain = Pictures(320, 240).draw(77, 1.5)
    assert Pictures(320, 240, len(plain)).draw(77, 1.5) == plain
