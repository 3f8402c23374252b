from __future__ import annotations

from pathlib import Path

import pytest

from recorder.config import from_json, to_json
from recorder.configfile import load
from recorder.errors import ConfigError

LANE = """
[upload]
mode = "off"

[[lanes]]
name = "imu"
driver = "mpu6050"
"""


@pytest.mark.parametrize("path", [None, Path("/run/chrony.recorder.sock")])
def test_chronys_socket_survives_the_way_to_a_process(tmp_path: Path, path: Path | None) -> None:
    file = tmp_path / "recorder.toml"
    file.write_text(LANE + (f'[clock]\nchrony_socket = "{path}"\n' if path else ""))
    config = load(file)
    assert config.clock.chrony_socket == path
    assert from_json(to_json(config)) == config


def test_what_is_wrong_with_the_clocks_table_is_told_by_key(tmp_path: Path) -> None:
    file = tmp_path / "recorder.toml"
    for text, told in (
        ('chrony_socket = "chrony.sock"', "clock.chrony_socket: found .chrony.sock.; must be an"),
        ('socket = "/run/x"', "clock.socket: unknown key"),
    ):
        file.write_text(f"{LANE}[clock]\n{text}\n")
        with pytest.raises(ConfigError, match=told):
            load(file)
