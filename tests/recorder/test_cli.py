from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys
from functools import reduce
from operator import xor
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from recorder import __version__
from recorder.cli import COMMANDS, PROCESSES, recorder, words
from recorder.spool.spool import Spool

PROGRAM = [sys.executable, "-c", "from recorder.cli import main; main()"]
ROOT = Path(__file__).parents[2]
ENDS_S = 30


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(recorder, [str(one) for one in arguments])


def program(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.parametrize("named", [[], *([name] for name in [*COMMANDS, *PROCESSES])], ids=str)
def test_each_command_has_help(named: list[str]) -> None:
    for option in ("--help", "-h"):
        result = call(*named, option)
        assert result.exit_code == 0
        assert "--debug" in result.output
        assert "Usage: recorder" in result.output


def test_the_commands_of_the_issue_are_there_and_in_its_order() -> None:
    assert list(COMMANDS) == [
        "check",
        "run",
        "status",
        "sessions",
        "show",
        "verify",
        "audit",
        "export",
        "spool",
        "pin",
        "unpin",
        "start",
        "stop",
        "new",
        "mark",
        "set",
        "dependency",
        "decode",
        "box",
        "key",
        "upload",
        "ground",
        "watch",
        "replay",
        "demo",
    ]
    listed = call("--help").output
    assert all(f"  {name} " in listed for name in [*COMMANDS, *PROCESSES])


def test_each_command_says_what_it_does() -> None:
    context = click.Context(recorder)
    for name in [*COMMANDS, *PROCESSES]:
        command = recorder.get_command(context, name)
        assert command is not None
        assert command.help


@pytest.mark.parametrize(
    "name",
    [
        "check",
        "status",
        "sessions",
        "show",
        "verify",
        "upload",
        "ground",
        "watch",
        "replay",
        "demo",
    ],
)
def test_what_prints_facts_can_print_json(name: str) -> None:
    assert "--json" in call(name, "--help").output


def test_options_tell_their_defaults_and_units() -> None:
    assert "[default: 20.0" in call("demo", "--help").output
    assert "in seconds" in call("demo", "--help").output
    assert "[default: 6726" in call("ground", "--help").output
    assert "/etc/recorder/recorder.toml" in call("check", "--help").output


def test_numbers_are_told_as_their_docstrings_say() -> None:
    tried = doctest.testmod(words)
    assert tried.attempted >= 3
    assert tried.failed == 0


def test_the_version_is_told() -> None:
    assert call("--version").output == f"recorder, version {__version__}\n"


def test_help_imports_neither_validator_nor_tables_nor_arrow() -> None:
    code = (
        "import sys, atexit; from recorder.cli import main;"
        "atexit.register(lambda: print(*sys.modules)); main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "recorder.errors" in loaded
    assert not loaded & {"pydantic", "rich", "pyarrow", "numpy", "drivers.nmea"}


@pytest.mark.parametrize(
    "used",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["show"],
        ["decode", "nonsense"],
        ["decode", "nmea", "/does/not/exist"],
        ["demo", "--seconds", "0"],
        ["demo", "--gps-log", __file__, "--drive", __file__],
        ["demo", "--kill", "everything@8s"],
        ["demo", "--kill", "spool@8s", "--seconds", "8"],
        ["demo", "--seconds", "nan"],
        ["demo", "--seconds", "inf"],
        ["demo", "--drive", __file__],
        ["demo", "--gps-log", __file__],
        ["demo", "--dir", "/tmp/" + 100 * "x"],
        ["sessions", "--server", "foo"],
        ["show", "x", "--server", "grpc://a:0"],
        ["ground", "--port", "70000"],
        ["watch"],
        ["watch", "--server", "foo"],
        ["replay", "x"],
        ["replay", "x", "--server", "grpc://a:0"],
        ["replay", "x", "--server", "grpc://a:1", "--from", "yesterday"],
        ["replay", "x", "--server", "grpc://a:1", "--speed", "0"],
        ["replay", "x", "--server", "grpc://a:1", "--to-file", "/f", "--speed", "2"],
        ["ground", "--certificate", __file__],
        ["sessions", "--spool", "/tmp", "--server", "grpc://a:1"],
        ["sessions", "--spool", "/proc"],
        ["verify", "/proc"],
        ["check", "--config", "/does/not/exist"],
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2_and_says_why(used: list[str]) -> None:
    result = call(*used)
    assert result.exit_code == 2, result.output
    assert "Error: " in result.stderr
    assert result.stdout == ""


def test_a_wrong_configuration_ends_with_2_and_a_line_for_each_problem(tmp_path: Path) -> None:
    file = tmp_path / "recorder.toml"
    file.write_text('[web]\nprt = 1\n[[lanes]]\nname = "X"\ndriver = "mpu6050"\n')
    for used in (["check"], ["run"], ["status"], ["upload"], ["spool"], ["lane", "X"]):
        result = call(*used, "--config", file)
        assert result.exit_code == 2
        first, *lines = result.stderr.splitlines()
        assert first == "Error: 3 problems"
        assert [line.split(": ")[1] for line in lines] == [
            "lanes[0].name (lane 'X')",
            "upload.server",
            "web.prt",
        ]


def test_no_error_shows_a_traceback_unless_it_is_asked_for(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("x")
    told = program("check", "--config", wrong)
    assert told.returncode == 2
    assert "Traceback" not in told.stderr
    assert "Traceback" in program("--debug", "check", "--config", wrong).stderr
    assert "Traceback" in program("check", "--debug", "--config", wrong).stderr


def test_a_defect_is_told_in_one_line_unless_debug_shows_where() -> None:
    code = "import recorder.cli as c; c.COMMANDS['status'] = c._Known('nowhere', ''); c.main()"
    said: list[str] = []
    for options in ([], ["--debug"]):
        told = subprocess.run(
            [sys.executable, "-c", code, *options, "status"],
            capture_output=True,
            text=True,
            timeout=ENDS_S,
            check=False,
            cwd=ROOT,
        )
        assert told.returncode == 1
        said.append(told.stderr)
    assert said[0] == (
        "Error: defect in the recorder: ModuleNotFoundError: No module named"
        " 'recorder.cli.nowhere'; the same with --debug shows where\n"
    )
    assert "Traceback" in said[1]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to the superuser")
def test_what_may_not_be_read_is_told_in_one_sentence(tmp_path: Path) -> None:
    Spool.make(tmp_path / "spool")
    (tmp_path / "spool" / "sessions").chmod(0)
    commands: list[list[str | Path]] = [["verify", tmp_path], ["sessions", "--spool", tmp_path]]
    for command in commands:
        result = call(*command)
        assert result.exit_code == 1
        assert result.stderr == f"Error: {tmp_path / 'spool' / 'sessions'}: Permission denied\n"


def test_what_cannot_be_read_is_told_in_one_sentence(tmp_path: Path) -> None:
    Spool.make(tmp_path / "spool")
    folder = tmp_path / "spool" / "sessions"
    folder.rmdir()
    folder.touch()
    commands: list[list[str | Path]] = [["verify", tmp_path], ["sessions", "--spool", tmp_path]]
    for command in commands:
        result = call(*command)
        assert result.exit_code == 1
        assert result.stderr == f"Error: {folder}: Not a directory\n"


def test_a_reader_that_has_enough_ends_the_program_quietly(tmp_path: Path) -> None:
    log = tmp_path / "gps.log"
    log.write_bytes((FIX + NO_FIX) * 2000)
    command = [*PROGRAM, "decode", "nmea", "--json", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        assert json.loads(writer.stdout.readline())
        writer.stdout.close()
        assert writer.stderr.read() == b""
        assert writer.wait(ENDS_S) == 1


def sentence(body: str) -> bytes:
    return f"${body}*{reduce(xor, body.encode()):02X}\r\n".encode()


FIX = sentence("GPGGA,120001.50,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,") + sentence(
    "GPRMC,120001.50,A,4807.038,N,01131.000,E,10.0,084.4,230394,,"
)
NO_FIX = (
    sentence("GPGGA,120003.00,,,,,0,00,,,M,,M,,")
    + b"$GPGGA,1*00\r\n"
    + sentence("GPRMC,120003.00,V,,,,,,,230394,,")
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A receiver's log: a comment, a fix, and no fix around a line with a bad checksum."""
    file = tmp_path / "gps.log"
    file.write_bytes(b"# a receiver\r\n" + FIX + NO_FIX)
    return file


def test_decode_prints_one_object_per_epoch(log: Path) -> None:
    result = call("decode", "nmea", log, "--json")
    assert result.exit_code == 0
    fix, none = map(json.loads, result.output.splitlines())
    assert fix == {
        "utc": "1994-03-23T12:00:01.500Z",
        "lat_deg": pytest.approx(48 + 7.038 / 60, abs=1e-12),
        "lon_deg": pytest.approx(11 + 31 / 60, abs=1e-12),
        "alt_m": 545.4,
        "speed_mps": pytest.approx(10 * 1852 / 3600),
        "course_deg": 84.4,
        "fix": "3d",
        "satellites": 8,
        "hdop": 0.9,
        "sentences": 2,
        "checksum_errors": 0,
    }
    assert none == {
        "utc": "1994-03-23T12:00:03Z",
        **dict.fromkeys(["lat_deg", "lon_deg", "alt_m", "speed_mps", "course_deg"]),
        "fix": "none",
        "satellites": 0,
        "hdop": None,
        "sentences": 2,
        "checksum_errors": 1,
    }


def test_decode_prints_a_line_per_epoch_for_people(log: Path) -> None:
    head, fix, none = call("decode", "nmea", log).output.splitlines()
    assert head.split() == [
        "utc",
        "lat_deg",
        "lon_deg",
        "alt_m",
        "speed",
        "course",
        "fix",
        "sats",
        "hdop",
    ]
    assert fix.split()[:3] == ["1994-03-23T12:00:01.500Z", "48.1173000", "11.5166667"]
    assert none.split()[1:7] == ["-", "-", "-", "-", "-", "none"]
    assert none.endswith("1 refused")
    assert len(fix) <= 100


def test_a_box_that_cannot_play_the_demo_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("recorder.cli.demo._NEEDED", ("json", "no_such_library"))
    result = call("demo", "--dir", tmp_path / "demo")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the demo needs no_such_library, which a box ")
    assert not (tmp_path / "demo").exists()
