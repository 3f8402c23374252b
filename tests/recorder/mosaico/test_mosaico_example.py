"""The page about writing is true: every Python block on it, in its order, as one program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.mosaico import rows
from tests.recorder.mosaico.conftest import Held

PAGE = Path(__file__).parents[3] / "docs" / "writing.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Where the page's server listens; the test's has a free port.
ADDRESS = '"localhost", 6726'


@pytest.fixture(scope="module")
def page():
    return "".join(BLOCK.findall(PAGE.read_text()))


@pytest.fixture
def run(page, station, tmp_path):
    """Runs the page as a program of its own."""

    def run_page():
        assert page.count(ADDRESS) >= 4
        program = tmp_path / "writing.py"
        program.write_text(page.replace(ADDRESS, f'"127.0.0.1", {station.port}'))
        done = subprocess.run(
            [sys.executable, program],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(PAGE.parents[1])},
        )
        assert (done.returncode, done.stderr) == (0, "")

    return run_page


def test_the_pages_programs_store_what_the_page_says(run, client, asked):
    run()
    assert asked.held(client, "mission_log_042") == Held(
        {"sensors/imu": (1000, True), "sensors/gps": (9, True), "remarks": (1, True)},
        [True, True],
        0,
    )
    [noted] = client.notifications("mission_log_042/sensors/gps")
    assert noted.text.startswith("ValueError: the receiver has no fix")
    assert asked.held(client, "columns") == Held({"level": (100_000, True)}, [True], 0)
    assert asked.held(client, "own") == Held({"wheels": (1, True)}, [True], 0)


def test_metadata_of_the_example_are_on_the_server(run, client):
    run()
    described = client.describe_sequence("mission_log_042")
    assert described.user_metadata["vehicle"]["software_stack"]["planning"] == "plan-4.1.7"
    gps = client.describe_topic("mission_log_042/sensors/gps")
    assert gps.user_metadata["interface"] == {
        "type": "UART",
        "baudrate": 115200,
        "protocol": "NMEA",
    }
    [first, *_] = rows(client, "mission_log_042/sensors/imu")
    assert first["acceleration"]["z"] == 9.81
