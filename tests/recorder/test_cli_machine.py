from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from drivers.base import Device
from recorder import status
from recorder.cli import recorder
from recorder.cli.toml_text import resolved, toml
from recorder.clock import boot_ns
from recorder.configfile import load
from tests.recorder.building import wait_until
from tests.recorder.counting_device import Counting


class Breaking(Counting):
    """Raises, when it is opened, what no driver should."""

    kind = "breaking"

    def open(self) -> Device:
        raise RuntimeError("it breaks when it is opened")


class Unmade(Counting):
    """Raises, when it is made, what no driver should."""

    kind = "unmade"

    def __init__(self) -> None:
        raise RuntimeError("it is not made")


ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "from recorder.cli import main; main()"]
EXAMPLES = sorted((ROOT / "recorder" / "examples").glob("*.toml"))
ENDS_S = 30


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(recorder, [str(one) for one in arguments])


def words(result: Result) -> str:
    return " ".join(result.output.split())


def configured(tmp_path: Path, *lanes: str, upload: str = 'mode = "off"') -> Path:
    """Write a configuration; each lane is ``name: further keys``."""
    tables = [
        f'[[lanes]]\nname = "{name}"\ndriver = "tests.recorder.counting_device:Counting"\n{keys}\n'
        for name, _, keys in (lane.partition(": ") for lane in lanes)
    ]
    file = tmp_path / "recorder.toml"
    spool = f'[spool]\ndirectory = "data"\nrun_dir = "run"\n[upload]\n{upload}\n'
    file.write_text("".join(tables) + spool)
    return file


# --- check


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_resolved_configuration_is_itself_a_configuration(path: Path, tmp_path: Path) -> None:
    first = resolved(load(path))
    copy = tmp_path / "copy.toml"
    copy.write_text(toml(first))
    assert resolved(load(copy)) == first


def test_check_says_who_is_there_and_what_it_writes(tmp_path: Path) -> None:
    file = configured(tmp_path, "counter: ")
    result = call("check", "--config", file)
    assert result.exit_code == 0, result.output
    assert "counter" in result.output
    assert "present: Acme Counter 50 Hz 6.4 kB/s" in words(result)
    assert result.stdout.splitlines()[-1] == "ready to record"
    assert "rate_hz = 50.0" in result.output


def test_check_as_json_has_configuration_devices_and_storage(tmp_path: Path) -> None:
    file = configured(tmp_path, "counter: ")
    facts = json.loads(call("check", "--config", file, "--json").stdout)
    assert facts["config"]["lanes"][0]["device"] == "here"
    assert facts["config"]["session"]["heartbeat_s"] == 10.0
    (device,) = facts["devices"]
    assert device["state"] == "present"
    assert device["device"]["vendor"] == "Acme"
    # Each sample is a record of its own: 120 bytes of header and 8 of payload, 50 times a second.
    assert facts["bytes_per_s"] == 6400
    assert facts["gb_per_h"] == pytest.approx(6400 * 3600 / 1e9, abs=1e-3)
    assert facts["spool_h"] == pytest.approx(facts["room_bytes"] / 6400 / 3600, rel=1e-3)
    assert facts["findings"] == []


@pytest.mark.parametrize(
    ("device", "said"),
    [("nowhere", "nobody answers at nowhere"), ("silent", "silent gave nothing in 2.5 s")],
)
def test_a_required_device_that_gives_nothing_is_a_finding(
    tmp_path: Path, device: str, said: str
) -> None:
    file = configured(tmp_path, f'a: device = "{device}"', 'b: device = "other"')
    result = call("check", "--config", file)
    assert result.exit_code == 1
    assert said in words(result)
    assert "present: Acme Counter" in words(result)
    assert result.stdout.splitlines()[-1] == "NOT ready"


def test_an_optional_device_may_be_missing(tmp_path: Path) -> None:
    file = configured(tmp_path, 'a: device = "nowhere"\nrequired = false')
    result = call("check", "--config", file)
    assert result.exit_code == 0
    assert "absent, optional" in words(result)


def test_a_bus_that_is_too_slow_for_its_lanes_is_a_finding(tmp_path: Path) -> None:
    file = tmp_path / "recorder.toml"
    gps = 'name = "gps"\ndriver = "nmea_gps"\ndevice = "/dev/none"\nbaud = 4800\nrequired = false'
    file.write_text(f'[[lanes]]\n{gps}\n[upload]\nmode = "off"\n')
    result = call("check", "--config", file, "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    # 10 epochs of 300 bytes of 10 bits.
    assert facts["bus_loads"] == {"uart /dev/none": pytest.approx(30_000 / 4800)}
    assert facts["findings"] == [
        "uart /dev/none: needs 625% of what it can carry; lower a rate or raise it"
    ]


def test_check_leaves_a_device_alone_that_the_recorder_has_open(tmp_path: Path) -> None:
    file = configured(tmp_path, 'counter: device = "nowhere"')
    sign = {"state": "running", "device": {"model": "Counter in use"}}
    status.publish(tmp_path / "run", "lane-counter", sign)
    result = call("check", "--config", file)
    assert result.exit_code == 0
    assert "in use: Counter in use" in words(result)


def test_values_that_the_server_has_no_place_for_are_a_finding_where_there_is_an_upload(
    tmp_path: Path,
) -> None:
    file = configured(tmp_path, "misfit: ")
    file.write_text(file.read_text().replace("Counting", "Misfit"))
    assert call("check", "--config", file).exit_code == 0
    server = 'mode = "live"\nserver = "grpc://127.0.0.1:1"'
    file.write_text(file.read_text().replace('mode = "off"', server))
    result = call("check", "--config", file)
    assert result.exit_code == 1
    assert "lane misfit: IMU requires 'acceleration'" in words(result)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("breaks: ", "RuntimeError: it breaks when it is opened"),
        ("breaks: required = false", "RuntimeError: it breaks when it is opened"),
    ],
)
def test_a_driver_that_raises_what_none_should_is_named_and_stops_no_other_lane(
    tmp_path: Path, name: str, said: str
) -> None:
    file = configured(tmp_path, name, 'counter: device = "other"')
    module = "tests.recorder.counting_device:"
    file.write_text(file.read_text().replace(f"{module}Counting", f"{__name__}:Breaking", 1))
    result = call("check", "--config", file)
    assert result.exit_code == 1
    assert f"lane breaks: failed: driver '{__name__}:Breaking': {said}" in words(result)
    assert "present: Acme Counter" in words(result)


def test_a_driver_that_cannot_be_made_or_imported_is_named(tmp_path: Path) -> None:
    file = configured(tmp_path, "a: ", "b: ")
    (tmp_path / "broken_driver.py").write_text("1 / 0\n")
    text = file.read_text().replace("tests.recorder.counting_device:Counting", "broken_driver:X", 1)
    file.write_text(text.replace("tests.recorder.counting_device:Counting", f"{__name__}:Unmade"))
    result = subprocess.run(
        [*PROGRAM, "check", "--config", str(file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        check=False,
    )
    assert result.returncode == 2
    _, first, second = result.stderr.splitlines()
    assert "(lane 'a'): driver 'broken_driver:X': ZeroDivisionError" in first
    assert f"(lane 'b'): driver '{__name__}:Unmade': RuntimeError: it is not made" in second


def test_a_spool_that_cannot_be_written_is_a_finding_of_check_and_refused_by_run(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    file = configured(tmp_path, "counter: ")
    file.write_text(file.read_text().replace('"data"', '"file/data"'))
    checked = call("check", "--config", file)
    assert checked.exit_code == 1
    assert "cannot write: Not a directory" in words(checked)
    result = call("run", "--config", file)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: spool.directory: found ")


def test_a_disk_without_room_is_told_before_the_run(tmp_path: Path) -> None:
    file = configured(tmp_path, "counter: ")
    file.write_text(file.read_text().replace("[spool]", f"[spool]\nfree_floor_bytes = {10**18}"))
    assert "no room to record" in words(call("check", "--config", file))
    result = call("run", "--config", file)
    assert result.exit_code == 2
    assert "no room to record" in result.stderr


def test_check_leaves_nothing_behind(tmp_path: Path) -> None:
    file = configured(tmp_path, "counter: ")
    assert call("check", "--config", file).exit_code == 0
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


# --- status


LOSSES = {"source": 3, "absent": 0, "broken": 0, "ring": 1}
SIGN = {"lane": "imu", "state": "running", "rate_hz": 200.0, "samples": 1001, "losses": LOSSES}


def test_status_shows_state_rate_and_losses_by_cause(tmp_path: Path) -> None:
    account = {"name": "imu", "stored": 1001, "first_boot_ns": 0, "last_boot_ns": 5_000_000_000}
    session = {
        "id": "abc",
        "state": "open",
        "start_utc_ns": 1_395_837_505_000_000_000,
        "duration_ns": 5_000_000_000,
        "quality": 0.996,
        "quality_basis": "held",
        "lanes": [account],
    }
    status.publish(tmp_path, "lane-imu", SIGN)
    status.publish(tmp_path, "spool", {"state": "recording abc", "session": session})
    backlog = {"state": "away", "backlog_rows": 1234, "error": "no route"}
    status.publish(tmp_path, "upload", backlog)
    result = call("status", "--run-dir", tmp_path)
    assert result.exit_code == 0, result.output
    told = words(result)
    for part in (
        "session abc: open since 2014-03-26T12:38:25Z, 5.0 s, quality 0.9960 held",
        "lane imu running",
        "200.00 of 200 Hz 1,001 3 lost by the device, 1 ring full",
        "away, 1,234 samples to send: no route",
    ):
        assert part in told
    facts = json.loads(call("status", "--run-dir", tmp_path, "--json").stdout)
    assert facts["lane-imu"]["losses"] == LOSSES
    assert not facts["lane-imu"]["silent"]


def test_status_without_a_clock_says_what_is_recorded_and_when_more_is_sent(tmp_path: Path) -> None:
    account = {"name": "imu", "stored": 0, "first_boot_ns": 0, "last_boot_ns": 5_000_000_000}
    session = {
        "id": "abc",
        "state": "waiting",
        "start_utc_ns": None,
        "duration_ns": 0,
        "quality": 0.9,
        "quality_basis": "default",
        "lanes": [account],
    }
    status.publish(tmp_path, "spool", {"state": "recording abc", "session": session})
    assert "its first sample is awaited" in words(call("status", "--run-dir", tmp_path))
    account["stored"], session["duration_ns"] = 1001, 5_000_000_000
    status.publish(tmp_path, "spool", {"state": "recording abc", "session": session})
    status.publish(tmp_path, "upload", {"state": "idle", "backlog_rows": 2292})
    told = words(call("status", "--run-dir", tmp_path))
    assert "since a time that is not known yet, 5.0 s" in told
    assert "awaited" not in told
    assert "idle, 2,292 samples to send when a part is full or the session ends" in told


def test_a_silent_process_is_a_finding(tmp_path: Path) -> None:
    status.publish(tmp_path, "lane-imu", {**SIGN, "boot_ns": boot_ns() - 60_000_000_000})
    result = call("status", "--run-dir", tmp_path)
    assert result.exit_code == 1
    assert "silent, was running 1 min 00 s" in words(result)
    assert "No session is being recorded." in result.stdout


def test_no_recorder_is_a_finding(tmp_path: Path) -> None:
    result = call("status", "--config", configured(tmp_path, "counter: "))
    assert result.exit_code == 1
    assert result.stderr == "No recorder runs here.\n"
    assert json.loads(call("status", "--run-dir", tmp_path, "--json").stdout) == {}


# --- run and the processes


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the program with arguments; what still runs at the end is ended."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        command = [*PROGRAM, *map(str, arguments)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.terminate()
        process.communicate(timeout=ENDS_S)


def session_of(run_dir: Path) -> dict[str, Any]:
    return (status.read(run_dir, "spool") or {}).get("session") or {}


def test_run_records_until_ctrl_c_and_closes_the_session(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    file = configured(tmp_path, "counter: ")
    process = started("run", "--config", file)
    wait_until(lambda: session_of(tmp_path / "run").get("duration_ns", 0) > 500_000_000)
    live = call("status", "--config", file)
    assert live.exit_code == 0
    assert "lane counter running" in words(live)
    process.send_signal(signal.SIGINT)
    assert process.wait(ENDS_S) == 0
    (one,) = json.loads(call("sessions", "--config", file, "--json").stdout)
    assert (one["state"], one["end_reason"]) == ("closed", "shutdown")
    assert one["lanes"][0]["stored"] > 20
    assert call("verify", tmp_path / "data").exit_code == 0


def test_a_second_run_on_the_same_spool_ends_at_once_and_leaves_the_first_alone(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    file = configured(tmp_path, "counter: ")
    process = started("run", "--config", file)
    wait_until(lambda: session_of(tmp_path / "run").get("duration_ns", 0) > 0)
    second = subprocess.run(
        [*PROGRAM, "run", "--config", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        check=False,
    )
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert "writes to it already" in line
    process.send_signal(signal.SIGINT)
    assert process.wait(ENDS_S) == 0


def test_a_second_ctrl_c_leaves_the_upload_for_next_time(tmp_path: Path) -> None:
    upload = 'mode = "live"\nserver = "grpc://127.0.0.1:1"\ndrain_s = 300'
    file = configured(tmp_path, "counter: ", upload=upload)
    command = [*PROGRAM, "run", "--config", str(file)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        wait_until(lambda: session_of(tmp_path / "run").get("duration_ns", 0) > 0)
        process.send_signal(signal.SIGINT)
        for line in process.stderr:
            if "waiting up to 300 s for the server" in line:
                break
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=ENDS_S)
        finally:
            process.kill()
        assert process.returncode == 1


def test_a_process_becomes_itself_and_carries_no_validator(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    file = configured(tmp_path, "counter: ")
    for name, module in (("lane-counter", "recorder.lane"), ("spool", "recorder.spooler")):
        words_of = ["lane", "counter"] if name.startswith("lane") else ["spool", "--serve"]
        process = started(*words_of, "--config", file)
        wait_until(partial(status.read, tmp_path / "run", name))
        sign = status.read(tmp_path / "run", name)
        assert sign is not None
        assert sign["pid"] == process.pid
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        assert command[1:3] == [b"-m", module.encode()]
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
        assert "pydantic" not in mapped
        assert "python" in mapped
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDS_S) == 0


def test_a_lane_that_is_not_configured_ends_with_the_code_that_its_unit_is_not_restarted_for(
    tmp_path: Path,
) -> None:
    result = call("lane", "imu", "--config", configured(tmp_path, "a: ", 'b: device = "x"'))
    unit = (ROOT / "systemd/recorder-lane@.service").read_text().splitlines()
    assert f"RestartPreventExitStatus={result.exit_code}" in unit
    assert result.exit_code not in (0, 1, 2)  # those of everything else that can be wrong
    assert "no lane 'imu'; lanes are a, b" in result.stderr


# --- upload


def test_upload_without_a_server_is_a_wrong_configuration(tmp_path: Path) -> None:
    result = call("upload", "--config", configured(tmp_path, "counter: "))
    assert result.exit_code == 2
    assert "no server" in result.stderr


def test_upload_refuses_a_key_that_others_can_use(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret")
    key.chmod(0o644)
    upload = 'server = "grpc://127.0.0.1:1"\nkey_file = "key"'
    result = call("upload", "--config", configured(tmp_path, "counter: ", upload=upload))
    assert result.exit_code == 2
    assert "others can use this API key (mode 0644)" in result.stderr


def test_check_goes_on_where_a_key_cannot_be_used(tmp_path: Path) -> None:
    upload = 'server = "grpc://127.0.0.1:1"\nkey_file = "none"'
    config = configured(tmp_path, "counter: ", upload=upload)
    result = call("check", "--config", config, "--json")
    facts = json.loads(result.stdout)
    assert result.exit_code == 1
    assert "upload.key_file" in " ".join(facts["findings"])
    assert facts["devices"]


def test_what_waits_is_sent_once_and_told(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    file = configured(tmp_path, "counter: ")
    process = started("run", "--config", file)
    wait_until(lambda: session_of(tmp_path / "run").get("duration_ns", 0) > 0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(ENDS_S) == 0
    (one,) = json.loads(call("sessions", "--config", file, "--json").stdout)
    ground = started("ground", "--dir", tmp_path / "ground", "--port", "0")
    assert ground.stdout is not None
    url = ground.stdout.readline().strip()
    assert url.startswith("grpc://127.0.0.1:")
    sent = call("upload", "--config", file, "--server", url, "--json")
    assert sent.exit_code == 0, sent.output
    assert json.loads(sent.stdout) == {
        "done": [one["id"]],
        "parked": {},
        "before": {},
        "lacking": {},
    }
    again = call("upload", "--config", file, "--server", "grpc://127.0.0.1:1")
    assert again.exit_code == 0
    assert f"{one['id']}: was delivered before (to {url})" in words(again)
    assert "Nothing waits to be sent." in words(again)
    (there,) = json.loads(call("sessions", "--server", url, "--json").stdout)
    assert there["id"] == one["id"]
    assert there["lanes"][0]["delivered"] == one["lanes"][0]["stored"]
    ground.send_signal(signal.SIGTERM)
    assert ground.wait(ENDS_S) == 0
