"""The scenario of the TPM: the server's key is sealed to the board, and to no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.scenarios.bench import RUN_DIR
from hil.scenarios.of_imu import LONG
from hil.scenarios.of_upload import FOLDER, SETTINGS_LIVE, SIGN, START, sends
from hil.scenarios.scenario import Scenario, Step, power, records
from hil.vm.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hil.scenarios.bench import Bench
    from hil.scenarios.recording import Recording

KEYS = "/var/lib/recorder/keys"
#: The settings name no key: the box has what was enrolled.
SETTINGS = "".join(
    line for line in SETTINGS_LIVE.splitlines(keepends=True) if not line.startswith("key_file")
)
ANSWERED = (
    "recorder key request > /run/request.json && recorder ground --dir"
    f" {FOLDER} --new-key read,write --for-request /run/request.json > /run/answer.json"
)
#: As somebody without a login does it: whole at once, and the upload's own.
DROP = (
    f"install -m 600 -o recorder-upload -g recorder /run/answer.json {KEYS}/.draft"
    f" && mv {KEYS}/.draft {KEYS}/answer.json"
)
ENROLL = "recorder key enroll /run/answer.json"
IS_SEALED = f"cd {KEYS} && ls *.sealed && ! ls *.key *.json"
IS_OPENED = f"ls {RUN_DIR}/keys/*.key"
#: The key itself stands in no file of the disk's.
IS_NOWHERE = "! grep -rqF $(grep -o 'msco_[a-z0-9_]*' /run/answer.json) /var/lib/recorder /etc"
#: As often as this TPM bears wrong guesses, which cuts after a use of a key would count as.
CUTS = 3


def board(tpm: str) -> Step:
    """Take the disk, and the sensor, to a board with a TPM."""

    def step(bench: Bench) -> None:
        assert isinstance(bench.machine, Machine), "only a virtual machine's board is exchanged"
        bench.pull("imu")
        chip = bench.folder / tpm
        chip.mkdir(exist_ok=True)
        bench.machine.fit(chip)
        bench.plug("imu")

    return step


def key(how: str) -> Step:
    """Give the box a key that is its own; it is sealed, and lies open nowhere."""

    def step(bench: Bench) -> None:
        machine = bench.machine
        machine.run(ANSWERED)
        machine.run(how)
        machine.until(IS_SEALED)
        machine.run(IS_NOWHERE)

    return step


def uploads(bench: Bench) -> None:
    """The station takes what this box sends with the key that its TPM opened."""
    sends(bench, START)


def cuts(bench: Bench) -> None:
    """Cut the power again and again, always after the key was opened."""
    for _ in range(CUTS):
        power(bench)
        bench.machine.until(IS_OPENED)


def is_told(bench: Bench) -> None:
    """Another board's TPM does not open the key: the recorder says so, and records on."""
    machine = bench.machine
    machine.run(START)
    machine.until(f'grep -q \'"state": "parked"\' {SIGN}')
    # A table would break the sentence; of a board that has just booted it may say "silent" as well.
    _, said = machine.try_("recorder status --json")
    assert "not opened by this board's TPM" in said, said
    assert "`recorder key request` asks for a new one" in said, said
    assert machine.try_(IS_OPENED)[0] != 0
    journal = machine.run("journalctl --no-pager -b -u recorder-key")
    assert "systemd-creds:" in journal, journal


def recorded_at(boots: int) -> Callable[[Recording, Bench], None]:
    """Neither TPM nor key is any business of the recording: it went on at every boot."""

    def shows(recording: Recording, bench: Bench) -> None:
        seen = {recording.session(one).boot_id for one in recording.session_ids}
        assert len(seen) == boots, seen
        bench.told.append(f"recorded at {boots} boots")

    return shows


def scenario(name: str, says: str, steps: Sequence[Step], boots: int) -> Scenario:
    """Return a scenario that begins on a machine without a TPM."""
    return Scenario(
        name,
        says,
        (board("own"), records("imu", rows=LONG), key(DROP), *steps),
        lost={"imu": {"lost_absent": (0, 1000), "lost_source": (0, 10_000)}},
        settings=SETTINGS,
        shows=recorded_at(1 + boots),
        power_on=("-action", "reboot=reset"),
    )


SCENARIOS = (
    scenario(
        "box-tpm",
        "A dropped key is sealed by the TPM; another board's does not open it, and all goes on.",
        (
            *(uploads, board("other"), records("imu", rows=LONG), is_told),
            *(key(ENROLL), uploads),
        ),
        boots=2,
    ),
    scenario(
        "box-tpm-cuts",
        "Cuts of the power after the key was opened are no wrong guesses at it for the TPM.",
        (cuts, records("imu", rows=LONG), uploads),
        boots=1 + CUTS,
    ),
)
