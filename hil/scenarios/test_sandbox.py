"""What every unit's process may do, where there is a kernel that controls devices too."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from hil import sandbox
from hil.figures import RESULTS
from hil.sandbox import ALLOWED, UNITS
from hil.scenarios.bench import Bench
from hil.scenarios.devices import Gps, drive
from hil.vm.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hil.vm.ready import Ready


def test_a_process_is_refused_what_is_not_its_business(
    saved: Ready, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    with (
        Machine(saved.image) as machine,
        closing(Bench(machine, {"gps": Gps(tmp_path, drive())}, tmp_path)) as bench,
    ):
        machine.wake(saved.saved)
        bench.plug("gps")
        bench.records("gps", 5)
        sandbox.prepare(machine)
        texts = sandbox.texts(machine)
        found = {unit: sandbox.tried(machine, unit, texts[unit]) for unit in UNITS}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "forbidden.md").write_text(sandbox.table(found))
    # What may be done is tried at level 0.5; a driver that is not loaded is refused here as well.
    for unit, did in found.items():
        assert {deed for deed, how in did.items() if how == "done"} <= ALLOWED[unit], (unit, did)
    tell(f"{len(UNITS)} units, {sum(len(did) for did in found.values())} deeds")
