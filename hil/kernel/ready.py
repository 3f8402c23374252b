"""The machine for the kernel's own drivers: Debian 13 and nothing else, with the bench's chips in
its ACPI tables; booted once and saved, in the cache under the hash of what it is made of.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from hil.kernel.acpi import table
from hil.kernel.chips import BY_ADDRESS
from hil.root import keep
from hil.vm.image import Image, build
from hil.vm.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The machine's USB controller, as its own tables call it.
CONTROLLER = "\\_SB.PCI0.S20"
HERE = Path(__file__).parent
PARTS = (
    *(HERE.with_name("vm") / name for name in ("agent.py", "image.py", "machine.py")),
    *(HERE / name for name in ("acpi.py", "chips.py", "ready.py")),
)


def ready() -> tuple[Machine, Path]:
    """Return the machine, off, and what to wake it from; made if it is not there yet."""
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in PARTS))
    place = keep("kernel", digest.hexdigest()[:12], _make)
    known = json.loads((place / "known.json").read_text())
    image = Image(place / "disk.img", place / known["kernel"], place / known["initrd"])
    return Machine(image, _tables(place)), place / "saved.qcow2"


def _make(place: Path) -> None:
    image = build(None, "", place)
    chips = [(address, f"{one.maker},{one.told}") for address, one in BY_ADDRESS.items()]
    (place / "chips.aml").write_bytes(table(CONTROLLER, chips))
    with Machine(image, _tables(place)) as one:
        one.boot()
        one.run("systemctl is-system-running --wait || true")
        one.run("sync")
        one.save(place / "saved.qcow2")
    known = {"kernel": image.kernel.name, "initrd": image.initrd.name}
    (place / "known.json").write_text(json.dumps(known))


def _tables(place: Path) -> Sequence[str]:
    return "-acpitable", f"sig=SSDT,rev=2,oem_id=BENCH,oem_table_id=CHIPS,data={place}/chips.aml"
