"""What every unit's process may do, and how much of the machine it sees."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from hil import sandbox
from hil.figures import RESULTS
from hil.sandbox import ALLOWED, MOST_EXPOSED, REFUSED, UNITS

if TYPE_CHECKING:
    from hil.units.box import Box

#: A container has no control of devices: there the modes of the nodes alone refuse, and root, which
#: checks the file system and has the key sealed, owns them all. A virtual machine has it
#: (`hil.scenarios`).
BY_MODE = {
    "recorder-fsck": {"a serial port", "an I2C bus", "a camera", "a pin", "the memory"},
    "recorder-key": {"a serial port", "an I2C bus", "a camera", "a pin", "the memory", "a disk"},
}


@pytest.fixture(scope="module")
def texts(box: Box) -> dict[str, str]:
    """By unit, all that systemd knows of it."""
    sandbox.prepare(box)
    return sandbox.texts(box)


@pytest.fixture(scope="module")
def found(box: Box) -> dict[str, dict[str, str]]:
    """What was tried, by unit."""
    assert box  # where there is none nothing is tried, and this skipped like the rest
    return {}


def test_no_unit_is_left_out(box: Box) -> None:
    files = box.run("cd /usr/lib/systemd/system; ls recorder-*.service").split()
    tried = {re.sub(r"@.*", "@", unit) + ".service" for unit in UNITS}
    assert (
        set(files)
        == tried
        == {f"{one.partition('@')[0]}{'@' * ('@' in one)}.service" for one in ALLOWED}
    )


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_exposes_no_more_than_it_must(box: Box, unit: str) -> None:
    said = box.run(f"systemd-analyze security --no-pager {unit}.service | tail -1")
    level = float(re.findall(r": ([0-9.]+) ", said)[0])
    assert level <= MOST_EXPOSED, said


def test_outside_of_a_sandbox_root_can_do_all_of_it(box: Box, texts: dict[str, str]) -> None:
    """The probe itself works: what it is refused inside is there, and can be done."""
    assert texts
    did = json.loads(box.run(f"{sandbox.PYTHON} /opt/bench/probe.py"))
    refused = {deed for deed, how in did.items() if how != "done"}
    # These are the machine's, and no container's.
    assert refused <= {"set the clock", "the kernel's log"}, did


@pytest.mark.parametrize("unit", UNITS)
def test_a_process_is_refused_what_is_not_its_business(
    box: Box, texts: dict[str, str], found: dict[str, dict[str, str]], unit: str
) -> None:
    did = found[unit] = sandbox.tried(box, unit, texts[unit])
    done = {deed for deed, how in did.items() if how == "done"}
    assert done - BY_MODE.get(unit, set()) == ALLOWED[unit], did
    assert {how for deed, how in did.items() if deed not in done} <= REFUSED, did


def test_what_was_tried_is_told_as_a_table(found: dict[str, dict[str, str]]) -> None:
    assert set(found) == set(UNITS)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "forbidden-units.md").write_text(sandbox.table(found))
