"""The key as the board's TPM seals it: a disk that is taken out of its box gives nothing away.

    <spool.directory>/keys/<box>.key       the key as it came, until it is sealed
    <spool.directory>/keys/<box>.sealed    what `systemd-creds` made of the key
    <spool.run_dir>/keys/<box>.key         the key as it was opened: in memory, the upload's alone

Only root can have a key sealed and opened, so `recorder-key.service` does both for the upload,
whose process sees no device.
"""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from recorder import durable
from recorder.errors import RecorderError

if TYPE_CHECKING:
    from recorder.config import Config

log = logging.getLogger(__name__)

#: The first TPM of version 2, by way of the kernel's manager of its resources.
DEVICE = Path("/dev/tpmrm0")
#: Within what is sealed; it is the same for every box, so that an adopted card's key can be opened.
_NAME = "--name=recorder.key"
#: Sealed to the chip and to nothing that was booted, for an update of firmware or kernel must not
#: cost a box its key. Nobody measures into register 23; systemd 252 opens nothing without any.
_SEAL = ("encrypt", "--with-key=tpm2", "--tpm2-pcrs=23", _NAME, "-", "-")
_OPEN = ("decrypt", _NAME, "-", "-")
_PATIENCE_S = 60.0
#: TPM2_Shutdown(TPM_SU_CLEAR), and its answer if it was done (TPM 2.0, part 3, 9.4).
_SHUTDOWN = bytes.fromhex("8001 0000000c 00000145 0000")
_DONE = bytes.fromhex("8001 0000000a 00000000")
_MODE, _FOLDER_MODE = 0o600, 0o700


def is_possible() -> bool:
    """Return whether this board has a TPM, and this process may use it."""
    return os.geteuid() == 0 and DEVICE.exists()


def is_sealed(config: Config, box: str) -> bool:
    """Return whether the key of a box is sealed, and none lies open."""
    return sealed_file(config, box).exists() and not open_file(config, box).exists()


def open_file(config: Config, box: str) -> Path:
    """Return where the key of a box lies open: without a TPM, or until it is sealed."""
    return config.keys_dir / f"{box}.key"


def sealed_file(config: Config, box: str) -> Path:
    """Return where the sealed key of a box lies."""
    return config.keys_dir / f"{box}.sealed"


def opened_file(config: Config, box: str) -> Path:
    """Return where the key of a box lies in memory once it was opened."""
    return config.spool.run_dir / "keys" / f"{box}.key"


def keep(config: Config, box: str, key: str) -> None:
    """Seal a key in place of the one before, durable on return, and hand it to the upload.

    Raises:
        RecorderError: the TPM does not seal it.
        OSError: it cannot be written.
    """
    durable.replace(sealed_file(config, box), [_asked(_SEAL, f"{key}\n".encode())], _MODE)
    _hand_over(config, box, key)


def unlock(config: Config, box: str) -> None:
    """Open the key of a box, and hand it to the upload.

    Raises:
        RecorderError: the TPM does not open it.
        OSError: it cannot be read or written.
    """
    file = sealed_file(config, box)
    try:
        key = _asked(_OPEN, file.read_bytes()).decode().strip()
    except RecorderError as error:
        raise RecorderError(f"{file}: {error}") from error
    _hand_over(config, box, key)


def _hand_over(config: Config, box: str, key: str) -> None:
    place = opened_file(config, box)
    place.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    durable.replace(place, [f"{key}\n".encode()], _MODE)


def _asked(words: tuple[str, ...], data: bytes) -> bytes:
    """Ask systemd, which asks the TPM; the key goes through pipes and over no disk."""
    try:
        done = subprocess.run(
            ["systemd-creds", *words],
            input=data,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RecorderError(f"systemd-creds: {error}") from error
    _expect_power_cut()
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RecorderError(f"systemd-creds: {said[-1] if said else done.returncode}")
    return done.stdout


def _expect_power_cut() -> None:
    """Tell the TPM that its power may go from here on.

    Otherwise a cut after a key was used counts as a wrong guess at it: after 3 to 32 of them,
    according to the maker, it opens nothing for minutes to hours.
    """
    try:
        device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(device, _SHUTDOWN)
            answer = os.read(device, 4096)
        finally:
            os.close(device)
    except OSError as error:
        log.warning("%s: not prepared for a power cut: %s", DEVICE, error)
    else:
        if answer != _DONE:
            log.warning("%s: not prepared for a power cut: %s", DEVICE, answer.hex())
