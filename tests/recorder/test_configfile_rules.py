from __future__ import annotations

import re
from pathlib import Path

import pytest

from recorder import configfile
from recorder.cli.toml_text import resolved, toml
from recorder.config import from_json, to_json
from recorder.errors import ConfigError

HEAD = """
[upload]
mode = "off"
[[lanes]]
name = "gps"
driver = "nmea_gps"
device = "/dev/ttyS0"
"""
GOOD = """
[[rules]]
do = "record"
line = "/dev/gpiochip0:17"
active_low = true
keep_s = 60
[[rules]]
do = "record"
present = "/dev/video0"
[[rules]]
do = "mark"
lane = "gps"
field = "velocity.x"
above = 5.0
below = -5.0
for_s = 2.0
[[rules]]
do = "new"
lane = "gps"
silent_s = 10.0
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recorder.toml"
    path.write_text(text)
    return path


def test_rules_are_read_travel_and_can_be_copied_back(tmp_path: Path) -> None:
    config = configfile.load(written(tmp_path, HEAD + GOOD))
    assert [one.do for one in config.rules] == ["record", "record", "mark", "new"]
    assert from_json(to_json(config)) == config
    again = configfile.load(written(tmp_path, toml(resolved(config))))
    assert again.rules == config.rules
    assert [one.words for one in config.rules] == [
        "/dev/gpiochip0:17 active",
        "/dev/video0 present",
        "gps velocity.x above 5 or below -5",
        "gps silent for 10 s",
    ]


def test_the_rules_in_the_documents_are_rules(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "sessions.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    lanes = (("imu", "mpu6050"), ("camera", "pi_camera"))
    tables = "".join(f'[[lanes]]\nname = "{name}"\ndriver = "{kind}"\n' for name, kind in lanes)
    path = written(tmp_path, f"{HEAD}{tables}{block}")
    assert len(configfile.load(path).rules) == 5


WRONG = {
    'do = "mark"': "rules[0]: found none; must have exactly one of line, present, lane",
    'do = "mark"\nline = "file:/x"\npresent = "/x"': "rules[0]: found line and present",
    'do = "sing"\nline = "file:/x"': "rules[0].do: found",
    'line = "file:/x"': "rules[0].do: is missing",
    'do = "mark"\nline = "17"': "rules[0].line: found '17': must be such as '/dev/gpiochip0:17'",
    'do = "mark"\npresent = "dev"': 'rules[0].present: found "dev"; must be a path',
    'do = "mark"\nlane = "gsp"\nsilent_s = 5.0': "did you mean 'gps'",
    'do = "mark"\nlane = "gps"': "rules[0].lane: must come with silent_s, or with field",
    'do = "mark"\nlane = "gps"\nfield = "velocity.x"': "must come with silent_s",
    'do = "mark"\nlane = "gps"\nfield = "velocty.x"\nabove = 1.0': "did you mean 'velocity.x'",
    'do = "mark"\nline = "file:/x"\nabove = 1.0': "above, below and silent_s are of a lane",
    'do = "mark"\nline = "file:/x"\nlabel = "a\\u001b[31m"': "rules[0].label: found",
    'do = "mark"\nlin = "file:/x"': "rules[0].lin: unknown key",
    'do = "mark"\nline = "file:/x"\nfor_s = -1.0': "rules[0].for_s: found -1.0",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items())
def test_a_rule_that_cannot_be_meant_is_said_with_its_key(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        configfile.load(written(tmp_path, f"{HEAD}[[rules]]\n{text}\n"))
    assert said in str(error.value)


def test_a_size_to_roll_over_at_is_none_or_large_enough(tmp_path: Path) -> None:
    path = written(tmp_path, f"[session]\nroll_over_bytes = 1000\n{HEAD}")
    with pytest.raises(ConfigError, match="roll_over_bytes: found 1000; must be 0 or at least"):
        configfile.load(path)
