"""The cameras' tables in a configuration: those of the page load, and what is wrong is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recorder import configfile
from recorder.devices import make_driver
from recorder.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "camera.md").read_text()
TABLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
REST = '[upload]\nmode = "off"\n'
CAMERA = 'lanes = [{{ name = "camera", driver = "{}", {} }}]\n' + REST


@pytest.mark.parametrize("table", TABLES, ids=["pi_camera", "v4l2_camera", "argus_camera"])
def test_the_pages_examples_load_and_make_their_drivers(table: str, tmp_path: Path) -> None:
    file = tmp_path / "recorder.toml"
    file.write_text(REST + table)
    (lane,) = configfile.load(file).lanes
    assert make_driver(lane).rate_hz == 30


@pytest.mark.parametrize(
    ("driver", "keys", "words"),
    [
        ("v4l2_camera", 'controls = { gain = "high" }', "controls"),
        ("v4l2_camera", "rotation_deg = 45", "found 45, allowed are 0, 90, 180 and 270"),
        ("pi_camera", 'encoding = "png"', "must be 'jpeg' or 'h264'"),
        ("pi_camera", "jpeg_quality = 200", "found 200, allowed are 1 to 100"),
        ("pi_camera", "bitrate_bps = 99_999_999_999", "allowed are 0 to 100,000,000"),
        ("v4l2_camera", 'device = "/dev/video\\u0000"', "found a text with a zero byte in it"),
        ("v4l2_camera", "rate_hz = 1e-300", "must be greater than or equal to 0.0001"),
        ("pi_camera", "width = 641", "found 641, allowed are even numbers"),
        ("pi_camera", "rotation_deg = 90", "found 90, allowed are 0 and 180"),
        ("argus_camera", 'device = "/dev/video0"', "allowed is a sensor's number"),
        ("argus_camera", "quality = 3", "jpeg_quality"),
    ],
)
def test_what_is_wrong_with_a_camera_is_told_with_its_key(
    driver: str, keys: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "recorder.toml"
    file.write_text(CAMERA.format(driver, keys))
    key = keys.partition(" ")[0]
    with pytest.raises(ConfigError, match=re.escape(words)) as error:
        configfile.load(file)
    assert f"lanes[0].{key}" in str(error.value)
