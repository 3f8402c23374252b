"""Which box this is: boards, cards, and what is believed of either."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.box import keys
from recorder.box.identity import Identity, Twin, board_id, identify, settle
from recorder.config import Config, Lane, Spool, Upload, Vehicle
from recorder.errors import ConfigError, RecorderError

UUID = "4c4c4544-0042-3510-8051-b4c04f4e4d32"
KEY = "msco_abcdefghijklmnopqrstuvwxyz012345_e6a1f2d4"


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def config(folder: Path, vehicle: str = "veh-042") -> Config:
    lane = Lane(name="imu", driver="mpu6050")
    return Config(lanes=[lane], vehicle=Vehicle(name=vehicle), spool=Spool(directory=folder))


@pytest.fixture(autouse=True)
def _no_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECORDER_BOARD", raising=False)


def test_the_boards_own_number_goes_before_the_installations(tmp_path: Path) -> None:
    put(tmp_path, "etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n")
    assert board_id(tmp_path) == ""
    assert identify(config(tmp_path), tmp_path).box == "3d1219c7c4c5404a"
    put(tmp_path, "sys/class/dmi/id/board_serial", "/7XYZ123/CN1296/\n")
    assert board_id(tmp_path) == "7xyz123cn1296"
    put(tmp_path, "sys/class/dmi/id/product_uuid", f"{UUID}\n")
    assert board_id(tmp_path) == UUID.replace("-", "")
    put(tmp_path, "proc/device-tree/serial-number", "10000000abcd1234\0")
    assert board_id(tmp_path) == "10000000abcd1234"
    assert identify(config(tmp_path), tmp_path).box == "10000000abcd1234"


def test_another_machine_id_at_each_boot_makes_no_copy(tmp_path: Path) -> None:
    # As a root that is read-only has it; then the board's number becomes known after all.
    put(tmp_path, "etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n")
    first = settle(config(tmp_path), lambda: 3, tmp_path)
    put(tmp_path, "etc/machine-id", "5e1219c7c4c5404aaa1f6d2a48adfda4\n")
    assert settle(config(tmp_path), lambda: 4, tmp_path) == first
    put(tmp_path, "sys/class/dmi/id/product_uuid", f"{UUID}\n")
    known = settle(config(tmp_path), lambda: 5, tmp_path)
    assert (known.box, known.twin, known.is_board) == (UUID.replace("-", ""), None, True)


def test_what_the_generator_found_goes_before_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "proc/device-tree/serial-number", "10000000abcd1234\0")
    monkeypatch.setenv("RECORDER_BOARD", UUID.upper())
    assert board_id(tmp_path) == UUID.replace("-", "")


@pytest.mark.parametrize(
    "number",
    ["03000200-0400-0500-0006-000700080009", "To Be Filled By O.E.M.", "Default string", "0" * 16],
)
def test_a_number_that_every_board_of_a_kind_has_is_none(tmp_path: Path, number: str) -> None:
    put(tmp_path, "sys/class/dmi/id/product_uuid", number)
    assert board_id(tmp_path) == ""


def settled(folder: Path, board: str, *, newest: int = 0, vehicle: str = "veh-042") -> Identity:
    root = folder / "machine"
    put(root, "proc/device-tree/serial-number", board)
    return settle(config(folder, vehicle), lambda: newest, root)


def test_a_card_remembers_its_box_and_notices_another(tmp_path: Path) -> None:
    first = settled(tmp_path, "10000000aaaaaaaa")
    assert first == Identity("10000000aaaaaaaa", "veh-042", is_board=True)
    assert settled(tmp_path, "10000000aaaaaaaa", newest=7) == first
    second = settled(tmp_path, "10000000bbbbbbbb", newest=7)
    assert second.twin == Twin("10000000aaaaaaaa", "veh-042", 7)
    assert second.name == "veh-042-bbbbbbbb"
    assert [second.inherits(number) for number in (1, 7, 8)] == [True, True, False]
    # What was settled stays, however much is recorded.
    assert settled(tmp_path, "10000000bbbbbbbb", newest=99) == second


def test_a_copy_that_is_put_back_is_a_copy_all_the_same(tmp_path: Path) -> None:
    settled(tmp_path, "10000000aaaaaaaa")
    settled(tmp_path, "10000000bbbbbbbb", newest=3)
    again = settled(tmp_path, "10000000aaaaaaaa", newest=5)
    assert again.name == "veh-042-aaaaaaaa"
    assert again.inherits(5)


def test_a_vehicle_that_is_given_another_name_needs_no_suffix(tmp_path: Path) -> None:
    settled(tmp_path, "10000000aaaaaaaa", vehicle="veh-041")
    settled(tmp_path, "10000000aaaaaaaa", vehicle="veh-042")
    assert settled(tmp_path, "10000000bbbbbbbb").name == "veh-042-bbbbbbbb"
    renamed = settled(tmp_path, "10000000bbbbbbbb", vehicle="veh-043")
    assert renamed.name == "veh-043"
    assert renamed.twin is not None


def test_a_name_fits_and_differs_even_if_two_numbers_end_alike(tmp_path: Path) -> None:
    twin = Twin("aaaa000012345678", "v" * 64, 1)
    one = Identity("bbbb000012345678", "v" * 64, twin)
    assert one.name.endswith("-bbbb000012345678")
    assert len(one.name) == 64


def test_who_may_not_read_the_boards_number_believes_the_card(tmp_path: Path) -> None:
    first = settled(tmp_path, "10000000aaaaaaaa")
    assert identify(config(tmp_path), tmp_path / "nothing there") == first


@pytest.mark.parametrize("text", ["", "{", "[]", '{"box": 1}', "\0\0\0"])
def test_a_card_whose_mark_is_damaged_is_this_boxs(tmp_path: Path, text: str) -> None:
    settled(tmp_path, "10000000aaaaaaaa")
    (tmp_path / "box" / "identity").write_text(text)
    again = settled(tmp_path, "10000000bbbbbbbb")
    assert again == Identity("10000000bbbbbbbb", "veh-042", is_board=True)
    assert json.loads((tmp_path / "box" / "identity").read_text())["box"] == "10000000bbbbbbbb"


def test_a_disk_that_takes_no_mark_keeps_nobody_from_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "box").write_text("a file where the folder should be")
    assert settled(tmp_path, "10000000aaaaaaaa").box == "10000000aaaaaaaa"
    assert "cannot be kept" in caplog.text


# --- keys


def test_a_key_that_was_used_before_the_board_was_known_is_this_boxs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(0o600)
    one = replace(config(tmp_path), upload=Upload(server="grpc://depot:1", key_file=file))

    def key_of(box: str, *, is_board: bool) -> str | None:
        monkeypatch.setattr(keys, "identify", lambda _: Identity(box, "v", is_board=is_board))
        return keys.server_key(one)

    assert key_of("3d1219c7c4c5404a", is_board=False) == KEY
    assert key_of("10000000abcd1234", is_board=True) == KEY
    with pytest.raises(ConfigError, match="of box 10000000abcd1234"):
        key_of("10000000ffff1234", is_board=True)


def test_a_dropped_answer_that_could_not_be_used_is_looked_at_again_when_it_changes(
    tmp_path: Path,
) -> None:
    one = config(tmp_path)
    dropped = one.keys_dir / "answer.json"
    put(one.keys_dir, "answer.json", whole_key()[:-1])
    before = dropped.stat()
    assert not keys.take_dropped(one)
    dropped.write_text(whole_key())
    # As `chown` and `chmod` leave it, which nobody needs who runs this as root.
    os.utime(dropped, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert keys.take_dropped(one)
    assert not dropped.exists()


def test_a_key_that_was_cut_or_is_for_another_box_is_refused(tmp_path: Path) -> None:
    one, found = config(tmp_path), Identity("10000000aaaaaaaa", "veh-042")
    answer = {"recorder_key": 1, "box": "10000000bbbbbbbb", "key": whole_key()}
    for text in ("", "msco_abc", KEY[:-1] + "5", '{"recorder_key": 2}', "{", "[]"):
        with pytest.raises(RecorderError):
            keys.enroll(one, found, text)
    assert not (tmp_path / "keys").exists()
    with pytest.raises(RecorderError, match="for box 10000000bbbbbbbb"):
        keys.enroll(one, found, json.dumps(answer))
    keys.enroll(one, Identity("10000000bbbbbbbb", "veh-042"), whole_key())


def whole_key() -> str:
    payload = KEY.split("_")[1]
    return f"msco_{payload}_{zlib.crc32(payload.encode()):08x}"
