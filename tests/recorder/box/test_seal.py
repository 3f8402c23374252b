"""Keys on a board with a TPM; systemd-creds and the chip are stand-ins (the bench has both)."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path

import pytest

from recorder.box import keys, seal
from recorder.box.identity import Identity
from recorder.config import Config
from recorder.errors import ConfigError, RecorderError
from tests.recorder.box.boxes import Box

IDENTITY = Identity("10000000aaaaaaaa", "veh-042")
#: Seals to the chip whose name stands in a file beside it.
CREDS = """#!/bin/sh
chip=$(cat "$(dirname "$0")/chip")
case $1 in
encrypt) echo "$chip"; base64 ;;
decrypt) read -r by; [ "$by" = "$chip" ] || { echo 'Failed to unseal' >&2; exit 1; }; base64 -d ;;
esac
"""
SHUTDOWN, DONE = bytes.fromhex("80010000000c000001450000"), bytes.fromhex("80010000000a00000000")
#: As a TPM says that it was not asked in order.
REFUSED = bytes.fromhex("80010000000a00000100")


def token(seed: str) -> str:
    body = (seed * 32)[:32]
    return f"msco_{body}_{zlib.crc32(body.encode()):08x}"


class Board:
    """The board's TPM.

    Args:
        folder: where the tools that speak with it lie.
    """

    def __init__(self, folder: Path) -> None:
        self.device = folder / "tpmrm0"
        self._chip = folder / "chip"
        self.answer(DONE)
        self.fit("own")

    def fit(self, chip: str) -> None:
        self._chip.write_text(f"{chip}\n")

    def answer(self, words: bytes) -> None:
        """Say this to the next command, which is written over the first bytes."""
        self.device.write_bytes(bytes(len(SHUTDOWN)) + words)

    @property
    def asked(self) -> bytes:
        return self.device.read_bytes()[: len(SHUTDOWN)]


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "systemd-creds").write_text(CREDS)
    (tools / "systemd-creds").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    made = Board(tools)
    monkeypatch.setattr(seal, "DEVICE", made.device)
    monkeypatch.setattr(seal, "is_possible", made.device.exists)
    return made


@pytest.fixture
def config(tmp_path: Path) -> Config:
    box = Box(tmp_path / "box", IDENTITY.box)
    box.configure("grpc://127.0.0.1:1")
    return box.config


def kept(config: Config) -> list[str]:
    return sorted(one.name for one in config.keys_dir.iterdir())


def reboot(config: Config) -> None:
    shutil.rmtree(config.spool.run_dir)


def test_an_enrolled_key_is_sealed_and_lies_open_nowhere_on_the_disk(
    board: Board, config: Config
) -> None:
    keys.enroll(config, IDENTITY, token("a"))
    assert kept(config) == [f"{IDENTITY.box}.sealed"]
    sealed = seal.sealed_file(config, IDENTITY.box)
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert token("a").encode() not in sealed.read_bytes()
    opened = seal.opened_file(config, IDENTITY.box)
    assert opened.is_relative_to(config.spool.run_dir)
    assert (opened.stat().st_mode & 0o777, opened.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert keys.server_key(config) is None  # this machine is another box
    assert keys.own_fingerprint(config, IDENTITY) == keys.fingerprint(token("a"))


def test_each_use_of_the_tpm_prepares_it_for_a_power_cut(
    board: Board, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    keys.enroll(config, IDENTITY, token("a"))
    assert board.asked == SHUTDOWN
    board.answer(DONE)
    keys.secure(config, IDENTITY)
    assert board.asked == SHUTDOWN
    assert caplog.records == []
    board.answer(REFUSED)
    keys.secure(config, IDENTITY)
    assert "not prepared for a power cut" in caplog.text


def test_a_key_that_lies_open_is_sealed_in_place_of_the_one_before(
    board: Board, config: Config
) -> None:
    keys.enroll(config, IDENTITY, token("a"))
    came = config.keys_dir / f"{IDENTITY.box}.key"
    came.write_text(token("b"))
    came.chmod(0o600)
    assert keys.own_fingerprint(config, IDENTITY) == keys.fingerprint(token("b"))
    keys.secure(config, IDENTITY)
    assert kept(config) == [f"{IDENTITY.box}.sealed"]
    reboot(config)
    keys.secure(config, IDENTITY)
    assert keys.own_fingerprint(config, IDENTITY) == keys.fingerprint(token("b"))


def test_another_boards_tpm_opens_nothing_and_a_new_key_mends_it(
    board: Board, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDER_BOARD", IDENTITY.box)
    keys.enroll(config, IDENTITY, token("a"))
    assert keys.server_key(config) == token("a")
    reboot(config)
    board.fit("other")
    with pytest.raises(RecorderError, match=r"\.sealed: systemd-creds: Failed to unseal"):
        keys.secure(config, IDENTITY)
    with pytest.raises(ConfigError, match=r"not opened by this board's TPM.*recorder key request"):
        keys.server_key(config)
    assert keys.own_fingerprint(config, IDENTITY) == ""
    keys.enroll(config, IDENTITY, token("b"))
    reboot(config)
    keys.secure(config, IDENTITY)
    assert keys.server_key(config) == token("b")


def test_a_key_that_the_tpm_does_not_seal_is_kept_and_that_is_told(
    board: Board, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    keys.enroll(config, IDENTITY, token("a"))
    (board.device.parent / "systemd-creds").write_text("#!/bin/sh\necho 'no library' >&2; exit 1\n")
    keys.enroll(config, IDENTITY, token("b"))
    assert seal.open_file(config, IDENTITY.box).stat().st_mode & 0o777 == 0o600
    assert not seal.is_sealed(config, IDENTITY.box)
    assert keys.own_fingerprint(config, IDENTITY) == keys.fingerprint(token("b"))
    assert "the key is not sealed, and lies open: systemd-creds: no library" in caplog.text


def test_an_adopted_card_brings_its_sealed_key(board: Board, config: Config) -> None:
    keys.enroll(config, IDENTITY, token("a"))
    moved = Identity("10000000bbbbbbbb", "veh-042")
    keys.take_over(config, moved, IDENTITY.box)
    assert kept(config) == [f"{moved.box}.sealed"]
    keys.secure(config, moved)
    assert keys.own_fingerprint(config, moved) == keys.fingerprint(token("a"))


def test_a_key_that_comes_while_another_is_sealed_is_not_lost(
    board: Board, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = seal.open_file(config, IDENTITY.box)
    came.parent.mkdir(parents=True)
    came.touch(0o600)
    came.write_text(token("a"))
    keep = seal.keep

    def slowly(config: Config, box: str, key: str) -> None:
        keep(config, box, key)
        if key == token("a"):
            came.write_text(token("b"))

    monkeypatch.setattr(seal, "keep", slowly)
    keys.secure(config, IDENTITY)
    assert kept(config) == [f"{IDENTITY.box}.sealed"]
    assert keys.own_fingerprint(config, IDENTITY) == keys.fingerprint(token("b"))
