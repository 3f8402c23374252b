from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import recorder
from drivers.base import Driver
from recorder.config import Config, Lane, from_json, to_json
from recorder.configfile import check_files, load
from recorder.errors import ConfigError
from recorder.record import lane_id

EXAMPLES = sorted((Path(recorder.__file__).parent / "examples").glob("*.toml"))
LANE = """
[[lanes]]
name = "imu"
driver = "mpu6050"
"""
SERVER = """
[upload]
server = "grpc://depot:6726"
"""
GOOD = SERVER + LANE


class Typed(Driver):
    """A driver of a user's own, with options of several types."""

    kind = "typed"

    def __init__(self, *, device: str, gain: float = 1.0, axes: list[str] | None = None) -> None:
        self.device = device
        self.gain = gain
        self.axes = axes


OWN = f'[[lanes]]\nname = "own"\ndriver = "{__name__}:Typed"\n'


def problems(tmp_path: Path, text: str) -> list[str]:
    """Return the lines that a wrong file is reported with, without the file's name."""
    file = tmp_path / "recorder.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines)
    return [line.removeprefix(f"{file}: ") for line in lines]


def loaded(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "recorder.toml"
    file.write_text(text)
    return load(file)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads_and_survives_the_way_to_a_process(path: Path) -> None:
    config = load(path)
    assert config.lanes
    assert from_json(to_json(config)) == config


def test_there_is_an_example_for_each_platform() -> None:
    assert [path.stem for path in EXAMPLES] == ["jetson", "laptop", "pi"]


def test_a_pi_with_three_devices_needs_ten_lines() -> None:
    text = next(path for path in EXAMPLES if path.stem == "pi").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 10
    drivers = [lane.driver for lane in load(EXAMPLES[-1]).lanes]
    assert drivers == ["nmea_gps", "mpu6050", "pi_camera"]


def test_what_is_not_said_has_the_default(tmp_path: Path) -> None:
    config = loaded(tmp_path, GOOD)
    assert config.lanes == [Lane(name="imu", driver="mpu6050")]
    assert config.upload.mode == "live"
    assert config.spool.commit_interval_s == 0.5


def test_how_a_spool_is_kept_survives_the_way_to_a_process(tmp_path: Path) -> None:
    keys = 'max_bytes = 64_000_000\npin_share = 0.25\nmarker = "mounted"\nloss_window_s = 3'
    config = loaded(tmp_path, f"{SERVER}[spool]\n{keys}\n{LANE}priority = -5\n")
    assert (config.spool.max_bytes, config.spool.pin_share) == (64_000_000, 0.25)
    assert (config.spool.marker, config.spool.loss_window_s) == ("mounted", 3.0)
    assert config.lanes[0].priority == -5
    assert from_json(to_json(config)) == config


def test_unlisted_keys_of_a_lane_are_its_drivers_options(tmp_path: Path) -> None:
    config = loaded(tmp_path, f"{GOOD}address = 0x69\nrate_hz = 500\n")
    assert config.lanes[0].options == {"address": 0x69}
    assert config.lanes[0].rate_hz == 500


def test_relative_paths_count_from_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    text = '[spool]\ndirectory = "data"\nrun_dir = "~/run"\n[upload]\nmode = "off"\n'
    config = loaded(tmp_path, text + LANE)
    assert config.spool.directory == tmp_path / "data"
    assert config.spool.run_dir == Path.home() / "run"


def test_overrides_go_over_the_files_tables_key_by_key(tmp_path: Path) -> None:
    file = tmp_path / "recorder.toml"
    file.write_text(GOOD + '[session]\ntype = "Test"\n')
    config = load(file, {"upload": {"mode": "off"}, "web": {"enabled": True}})
    assert config.upload.mode == "off"
    assert config.upload.server == "grpc://depot:6726"
    assert config.web.enabled
    assert config.session.type == "Test"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load(tmp_path / "none.toml")


def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, 'lanes = [\nname = "x"')
    assert line.startswith("is no TOML: ")
    assert "line 2" in line


WRONG = {
    "a misspelled table": (
        GOOD + "[sesion]",
        ["sesion: unknown table; did you mean 'session'? known: lanes, vehicle, session, "],
    ),
    "a misspelled key of a table": (
        GOOD + "[spool]\ncommit_intervall_s = 1",
        ["spool.commit_intervall_s: unknown key, found 1; did you mean 'commit_interval_s'? "],
    ),
    "a misspelled key two tables deep": (
        GOOD + "[session.model]\nvresion = 1",
        ["session.model.vresion: unknown key, found 1; did you mean 'version'? known: group, "],
    ),
    "a key that resembles nothing": (
        GOOD + "[web]\nqqqqqqq = 1",
        ["web.qqqqqqq: unknown key, found 1; known: enabled, host, port"],
    ),
    "a misspelled key of a lane": (
        GOOD + "requird = true",
        ["lanes[0].requird (lane 'imu'): unknown key, found true; did you mean 'required'? "],
    ),
    "a misspelled option of a driver": (
        GOOD + "adress = 0x68",
        ["lanes[0].adress (lane 'imu'): unknown key, found 104; did you mean 'address'? "],
    ),
    "the name of a field that is no key": (
        GOOD + "options = {address = 0x68}",
        ["lanes[0].options (lane 'imu'): unknown key"],
    ),
    "a misspelled driver": (
        SERVER + '[[lanes]]\nname = "imu"\ndriver = "mpu605"',
        [
            "lanes[0].driver (lane 'imu'): found \"mpu605\"; did you mean 'mpu6050'? "
            "known: argus_camera, bmi270, bno055, frame_source, icm20948, lsm6ds3, lsm6dso,"
            " mpu6050, nmea_gps, pi_camera, v4l2_camera, or package.module:"
        ],
    ),
    "a driver's helper instead of a driver": (
        SERVER + '[[lanes]]\nname = "imu"\ndriver = "i2c"',
        ["lanes[0].driver (lane 'imu'): found \"i2c\"; known: argus_camera"],
    ),
    "a driver of one's own that is not there": (
        SERVER + '[[lanes]]\nname = "own"\ndriver = "nowhere.module:Class"',
        ["lanes[0].driver (lane 'own'): driver 'nowhere.module:Class': cannot be imported: No "],
    ),
    "an option that a driver needs": (
        SERVER + '[[lanes]]\nname = "gps"\ndriver = "nmea_gps"',
        ["lanes[0].device (lane 'gps'): is missing; driver 'nmea_gps' needs it (str)"],
    ),
    "an option of the wrong type": (
        GOOD + 'address = "0x68"',
        ["lanes[0].address (lane 'imu'): found \"0x68\"; must be a whole number"],
    ),
    "options of the wrong type of a driver of one's own": (
        SERVER + OWN + "device = 1\ngain = true\naxes = [1]",
        [
            "lanes[0].axes (lane 'own'): found 1; must be text",
            "lanes[0].device (lane 'own'): found 1; must be text",
            "lanes[0].gain (lane 'own'): found true; must be a number",
        ],
    ),
    "a rate that a driver does not take": (
        SERVER + OWN + 'device = "x"\nrate_hz = 5',
        ["lanes[0].rate_hz (lane 'own'): unknown key, found 5"],
    ),
    "a rate that a device cannot have": (
        GOOD + "rate_hz = 300",
        ["lanes[0].rate_hz (lane 'imu'): found 300", "the nearest are 250, 333.333, 500"],
    ),
    "an address that is none": (
        GOOD + "address = 5",
        ["lanes[0].address (lane 'imu'): found 0x05, allowed are 0x08 to 0x77"],
    ),
    "a rate below its limit": (
        GOOD + "rate_hz = -3",
        ["lanes[0].rate_hz (lane 'imu'): found -3; must be greater than or equal to 0.0001"],
    ),
    "a weight beside which nothing else counts": (
        GOOD + "weight = 1e308",
        ["lanes[0].weight (lane 'imu'): found 1e+308; must be less than or equal to 1000"],
    ),
    "a weight that counts for nothing": (
        GOOD + "weight = 1e-14",
        ["lanes[0].weight (lane 'imu'): found 1e-14; must be greater than or equal to 0.001"],
    ),
    "a number beyond its limit": (
        GOOD + "[session]\nheartbeat_s = 61",
        ["session.heartbeat_s: found 61; must be less than or equal to 60"],
    ),
    "a number that is none": (
        GOOD + "[session]\nroll_over_s = nan\nheartbeat_s = inf",
        [
            "session.heartbeat_s: found Infinity; must be a finite number",
            "session.roll_over_s: found NaN; must be a finite number",
        ],
    ),
    "a window of loss shorter than the time between two commits": (
        GOOD + "[spool]\ncommit_interval_s = 5",
        ["spool.loss_window_s: found 2.0; must be at least spool.commit_interval_s, 5.0"],
    ),
    "a spool that cannot hold what is being written": (
        GOOD + "[spool]\nsegment_bytes = 1_000_000\nmax_bytes = 1_999_999",
        [
            "spool.max_bytes: found 1999999; "
            "must be 0 or at least twice spool.segment_bytes, 2000000"
        ],
    ),
    "a share that is more than all": (
        GOOD + "[spool]\npin_share = 1.5",
        ["spool.pin_share: found 1.5; must be less than or equal to 1"],
    ),
    "a marker elsewhere": (
        GOOD + '[spool]\nmarker = "../mounted"',
        ['spool.marker: found "../mounted"; must be the name of a file in spool.directory'],
    ),
    "a priority beyond its limit": (
        GOOD + "priority = 101",
        ["lanes[0].priority (lane 'imu'): found 101; must be less than or equal to 100"],
    ),
    "text for a number": (
        GOOD + '[web]\nport = "8080"',
        ['web.port: found "8080"; must be a whole number'],
    ),
    "a number for text": (
        GOOD + "[vehicle]\nname = 7",
        ["vehicle.name: found 7; must be text"],
    ),
    "an entry of a list": (
        GOOD + '[session]\nsources = ["a", 2]',
        ["session.sources[1]: found 2; must be text"],
    ),
    "a value for a table": (
        'session = 3\n[[lanes]]\nname = "imu"\ndriver = "mpu6050"\n' + SERVER,
        ["session: found 3; must be a table"],
    ),
    "a word that is not among the allowed": (
        GOOD + 'on_error = "explode"',
        [
            "lanes[0].on_error (lane 'imu'): found \"explode\"; "
            "must be 'raise', 'ignore' or 'finalize'"
        ],
    ),
    "a session type that is too long": (
        GOOD + f'[session]\ntype = "{"x" * 33}"',
        [f'session.type: found "{"x" * 33}"; must have at most 32 characters'],
    ),
    "details of a kind that ATLAS has not": (
        GOOD + "[session.details]\na = [1]",
        [
            "session.details.a: found [1]; "
            "must be text or a whole number or a number or true or false"
        ],
    ),
    "a field that the identifier cannot have": (
        GOOD + '[session]\nidentifier = "{vehicel}-{start}"',
        ["session.identifier: found {vehicel} in \"{vehicel}-{start}\"; did you mean 'vehicle'? "],
    ),
    "an attribute in the identifier": (
        GOOD + '[session]\nidentifier = "{start.year}"',
        ["session.identifier: found {start.year}"],
    ),
    "a brace that nobody closes": (
        GOOD + '[session]\nidentifier = "{start"',
        ["session.identifier: found \"{start\"; expected '}' before end of string; allowed: "],
    ),
    "no lanes": (
        SERVER,
        ["lanes: is missing; must be one table [[lanes]] for each of 1 to 64 sensors"],
    ),
    "lanes as one table": (
        SERVER + "[lanes.imu]\nx = 1",
        ["lanes: found", "must be one table [[lanes]]"],
    ),
    "a lane without name and driver": (
        SERVER + "[[lanes]]\nrequired = false",
        ["lanes[0].driver: is missing", "lanes[0].name: is missing"],
    ),
    "a lane that is no table": (
        "lanes = [1]" + SERVER,
        ["lanes[0]: found 1; must be a table"],
    ),
    "a name that is no topic": (
        SERVER + '[[lanes]]\nname = "IMU.1"\ndriver = "mpu6050"',
        ['found "IMU.1"; must be of a-z 0-9 _ - and begin with a letter or digit'],
    ),
    "the name of the recorder's own topics": (
        SERVER + '[[lanes]]\nname = "recorder"\ndriver = "mpu6050"',
        ['found "recorder"; this name is kept for the recorder\'s own topics'],
    ),
    "the name of a session's own file": (
        SERVER + '[[lanes]]\nname = "journal"\ndriver = "mpu6050"',
        ['found "journal"; this name is kept for the recorder\'s own topics and files'],
    ),
    "a name that is there twice": (
        GOOD + '[[lanes]]\nname = "imu"\ndriver = "mpu6050"\naddress = 0x69',
        ["lanes[1].name (lane 'imu'): found \"imu\"; lanes[0] has the same name"],
    ),
    "a device that is there twice": (
        GOOD + '[[lanes]]\nname = "imu2"\ndriver = "mpu6050"',
        ["lanes[1].device (lane 'imu2'): lanes[0] has the same device and address 0x68"],
    ),
    "a key of metadata that the server refuses": (
        GOOD + '[lanes.metadata]\nfine-1 = 1\n"a.b" = 2\n[lanes.metadata.deep]\n"x--y" = 1',
        [
            "lanes[0].metadata.a.b (lane 'imu'): the server refuses this key",
            "lanes[0].metadata.deep.x--y (lane 'imu'): the server refuses this key",
        ],
    ),
    "an upload without a server": (
        LANE,
        ["upload.server: is missing; mode 'live' needs one"],
    ),
    "a server that is none": (
        '[upload]\nserver = "http://depot:6726"' + LANE,
        ['upload.server: found "http://depot:6726"; must be grpc://host:port or grpc+tls://'],
    ),
    "a server without a port": (
        '[upload]\nserver = "grpc://depot"' + LANE,
        ["upload.server: "],
    ),
    "a port that is none": (
        '[upload]\nserver = "grpc://depot:99999"' + LANE,
        ["upload.server: "],
    ),
    "a certificate for a plain connection": (
        '[upload]\nserver = "grpc://depot:1"\ncertificate = "/etc/ca.pem"' + LANE,
        ['upload.certificate: found "/etc/ca.pem"; needs a server that begins with grpc+tls://'],
    ),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_told_by_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    lines = problems(tmp_path, text)
    told = "\n".join(lines)
    assert all(part in told for part in expected), told
    # Nothing follows from what is wrong: as many lines as keys that are.
    keys = {part.partition(":")[0] for part in expected if re.match(r"[a-z]+[.\[:]", part)}
    assert len(lines) == max(1, len(keys)), told


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = """
        [vehicel]
        [session]
        type = "way too long for a class of session"
        identifier = "{nobody}"
        [upload]
        mode = "alive"
        server = "ftp://x"
        [[lanes]]
        name = "GPS"
        driver = "nmea_gsp"
        [[lanes]]
        driver = "mpu6050"
        rate_hz = "fast"
        [[lanes]]
        name = "imu"
        driver = "mpu6050"
        requird = true
    """
    keys = [line.partition(":")[0] for line in problems(tmp_path, text)]
    assert keys == [
        "lanes[0].driver (lane 'GPS')",
        "lanes[0].name (lane 'GPS')",
        "lanes[1].name",
        "lanes[1].rate_hz",
        "lanes[2].requird (lane 'imu')",
        "session.identifier",
        "session.type",
        "upload.mode",
        "upload.server",
        "vehicel",
    ]


def test_lanes_are_told_in_their_order_beyond_ten(tmp_path: Path) -> None:
    lanes = "".join(f'[[lanes]]\nname = "l{i}"\ndriver = "none"\n' for i in range(11))
    keys = [line.partition(".")[0] for line in problems(tmp_path, SERVER + lanes)]
    assert keys == [f"lanes[{i}]" for i in range(11)]


def test_two_names_with_one_check_number_are_refused(tmp_path: Path) -> None:
    numbers: dict[int, str] = {}
    index = 0
    while (other := numbers.get(lane_id(f"l{index}"))) is None:
        numbers[lane_id(f"l{index}")] = f"l{index}"
        index += 1
    name = f"l{index}"
    text = f"""{SERVER}
        [[lanes]]
        name = "{other}"
        driver = "mpu6050"
        [[lanes]]
        name = "{name}"
        driver = "mpu6050"
        address = 0x69
    """
    (line,) = problems(tmp_path, text)
    assert f"its check number is that of lane {other!r}" in line


def test_a_device_under_two_names_is_one_device(tmp_path: Path) -> None:
    (tmp_path / "gps").symlink_to("/dev/null")
    lanes = "".join(
        f'[[lanes]]\nname = "{name}"\ndriver = "nmea_gps"\ndevice = "{device}"\n'
        for name, device in (("a", "/dev/null"), ("b", tmp_path / "gps"))
    )
    (line,) = problems(tmp_path, SERVER + lanes)
    assert line == "lanes[1].device (lane 'b'): lanes[0] has the same device"


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, f'{GOOD}[vehicle]\nname = "{"x" * 500}"')
    assert len(line) < 200


def test_a_key_file_that_others_can_use_is_refused_only_where_it_is_used(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret")
    key.chmod(0o644)
    config = loaded(tmp_path, f'[upload]\nserver = "grpc://a:1"\nkey_file = "key"\n{LANE}')
    with pytest.raises(ConfigError, match=r"upload\.key_file: .*mode 0644.*chmod 600"):
        check_files(config)
    key.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640"):
        check_files(config)
    key.chmod(0o400)
    check_files(config)


def test_missing_key_and_certificate_are_told_together(tmp_path: Path) -> None:
    config = loaded(tmp_path, GOOD)
    upload = dataclasses.replace(
        config.upload, key_file=tmp_path / "none", certificate=tmp_path / "neither"
    )
    with pytest.raises(ConfigError) as caught:
        check_files(dataclasses.replace(config, upload=upload))
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "upload.key_file",
        "upload.certificate",
    ]
