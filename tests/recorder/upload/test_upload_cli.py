"""`recorder upload` as a person calls it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from recorder.cli import recorder
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient
from recorder.service import Stop
from recorder.spool.receipts import receipts
from recorder.uploader import Asked, Uploader

PROGRAM = [sys.executable, "-c", "from recorder.cli import main; main()"]
LIMIT_S = 30


@pytest.fixture
def configured(drive):
    """Write the configuration of the drive's spool."""

    def write(**upload):
        drive.tell_time()
        drive.imu(20)
        drive.camera(6)
        drive.end()
        file = drive.folder / "recorder.toml"
        keys = "".join(f"{key} = {json.dumps(value)}\n" for key, value in upload.items())
        spool = '[spool]\ndirectory = "data"\nrun_dir = "run"\n'
        lane = '[[lanes]]\nname = "imu"\ndriver = "mpu6050"\n'
        file.write_text(f'{spool}[upload]\nmode = "off"\n{keys}{lane}')
        return file

    return write


def call(*arguments):
    return CliRunner().invoke(recorder, ["upload", *(str(one) for one in arguments)])


def words(result):
    return " ".join(result.output.split())


def test_nothing_is_verified_of_a_recording_that_there_is_not(drive, station, configured):
    file = configured(server=station.url)
    assert call("--once", "--config", file).exit_code == 0
    result = call("nothing-of-this-id", "--verify-all", "--config", file)
    assert result.exit_code == 1
    assert "no session begins with 'nothing-of-this-id'" in words(result)
    assert call(drive.id, "--verify-all", "--config", file).exit_code == 0


@pytest.mark.parametrize("way", ["--now", "--verify-all"])
def test_anew_is_never_passed_over_in_silence(drive, configured, way):
    result = call(drive.id, "--anew", way, "--config", configured(server="grpc://localhost:1"))
    assert result.exit_code == 2
    assert "--anew sends at once" in words(result)


def test_what_was_sent_is_read_back_and_compared_row_by_row(drive, station, configured):
    file = configured(server=station.url)
    assert call("--once", "--config", file).exit_code == 0
    result = call("--verify-all", "--config", file)
    assert result.exit_code == 0
    assert f"{drive.id}:" in result.output
    assert "rows compared, all as sent" in words(result)
    result = call(drive.id[:8], "--verify-all", "--json", "--config", file)
    assert (result.exit_code, list(json.loads(result.stdout))) == (0, [drive.id])
    with MosaicoClient.connect_url(station.url) as client:
        (name,) = client.sequences()
        client.delete_topic(f"{name}/imu")
    result = call("--verify-all", "--json", "--config", file)
    assert result.exit_code == 1
    assert json.loads(result.stdout)[drive.id]["wrong"][0].startswith("imu: ")


def test_nothing_to_compare_is_told(configured, station):
    result = call("--verify-all", "--config", configured(server=station.url))
    assert (result.exit_code, words(result)) == (0, "Nothing was sent to this server.")


def test_the_months_cap_is_told_and_a_session_may_pass_it(drive, station, configured):
    file = configured(server=station.url, monthly_bytes=1000)
    result = call("--config", file)
    assert result.exit_code == 1
    assert "upload.monthly_bytes" in result.output
    assert call("--over-cap", "--config", file).exit_code == 2
    result = call(drive.id[:8], "--over-cap", "--config", file)
    assert result.exit_code == 0
    assert f"{drive.id}: on the server" in words(result)


def test_what_another_server_got_a_part_of_goes_anew_only_when_asked(drive, tmp_path, configured):
    with GroundStation(tmp_path / "one") as one, GroundStation(tmp_path / "two") as two:
        file = configured(server=two.url)
        config = drive.config(one.url)
        uploader = Uploader(config, Stop(), asked=Asked())
        while not receipts(config.upload_dir / drive.id):
            assert uploader.work()
        uploader.close()
        result = call("--config", file)
        assert result.exit_code == 1
        assert f"a part of it went to {one.url}" in words(result)
        assert call(drive.id[:8], "--anew", "--config", file).exit_code == 0
        with MosaicoClient.connect_url(two.url) as client:
            assert len(client.sequences()) == 1


def test_what_the_server_has_lost_goes_there_anew_and_what_the_spool_lacks_is_named(
    drive, station, configured
):
    file = configured(server=station.url)
    assert call("--config", file).exit_code == 0
    refused = call(drive.id[:8], "--anew", "--config", file)
    assert refused.exit_code == 1
    assert f"{station.url} still has all 206 samples of" in words(refused)
    with MosaicoClient.connect_url(station.url) as client:
        (name,) = client.sequences()
        client.delete_sequence(name)
    for path in drive.spool.segments(drive.id, "camera"):
        path.unlink()
    result = call(drive.id[:8], "--anew", "--config", file)
    assert result.exit_code == 0
    assert f"{drive.id}: on the server" in words(result)
    assert "camera: without samples of the spool: 6 did not verify on disk" in words(result)


def test_nobody_to_wake_is_told(configured):
    result = call("--now", "--config", configured())
    assert result.exit_code == 1
    assert "no upload process listens" in result.output


def test_the_progress_tells_bytes_samples_rate_and_time_left(drive, station, configured):
    file = configured(server=station.url, most_bytes_per_s=60_000)
    master, slave = pty.openpty()
    command = [*PROGRAM, "upload", "--config", str(file)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        shown = _read_all(master)
        assert process.wait(LIMIT_S) == 0
    os.close(master)
    assert "206 samples left" in shown
    assert "kB/s" in shown
    assert "0:00:0" in shown


def _read_all(master):
    found, until_s = b"", time.monotonic() + LIMIT_S
    while select.select([master], [], [], max(0.0, until_s - time.monotonic()))[0]:
        try:
            found += os.read(master, 65_536)
        except OSError:  # the other end is closed
            break
    return found.decode(errors="replace")
