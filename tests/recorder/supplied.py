"""The real processes of a recorder whose supply is watched: a pin and a voltage are files."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from drivers.base import Field
from recorder import config
from recorder.power import OFF_FILE
from recorder.session.session import Session
from recorder.spool.spool import Spool
from tests.leash import LEASH
from tests.recorder.building import ROOT, Machine, Numbered, wait_until


class Counted(Numbered):
    """The same device, whose numbers the server has a place for."""

    ontology = "Integer64"
    fields = (Field("data", "<i8", "1"), Field("twisted", "<u8", "1"))


MODULES = {"power": "recorder.power", "upload": "recorder.uploader"}


class Supplied(Machine):
    """Spool, lane and the supply's process; of the upload only if it is asked for."""

    def __init__(
        self,
        directory: Path,
        *,
        upload: config.Upload | None = None,
        rules: Sequence[config.Rule] = (),
        **power: Any,
    ) -> None:
        super().__init__(directory)
        (lane,) = self.config.lanes
        self.ignition, self.voltage = directory / "ignition", directory / "in0_input"
        self.ignition.write_text("1\n")
        self.voltage.write_text("12400\n")
        watched = {
            "ignition": f"file:{self.ignition}",
            "off_for_s": 0.2,
            "voltage": f"file:{directory}/in*_input",
            "low_volts": 11.0,
        }
        self.config = dataclasses.replace(
            self.config,
            lanes=[dataclasses.replace(lane, driver=f"{__name__}:Counted")],
            upload=upload or config.Upload(mode="off"),
            power=config.Power(**{**watched, **power}),
            rules=list(rules),
        )

    def start(self, name: str) -> subprocess.Popen[bytes]:
        if name not in MODULES:
            return super().start(name)
        return self.start_module(name, MODULES[name])

    def start_module(self, name: str, *module: str) -> subprocess.Popen[bytes]:
        arguments = [sys.executable, "-m", *module, config.to_json(self.config)]
        env = {**os.environ, **LEASH.environment}
        self.processes[name] = subprocess.Popen(arguments, cwd=ROOT, env=env, pass_fds=LEASH.fds)
        return self.processes[name]

    def start_all(self) -> None:
        """Start every process, and wait until it records."""
        for name in ("spool", "lane", "power"):
            self.start(name)
        wait_until(lambda: self.stored() > 50)
        wait_until(lambda: self.sign("power").get("state") == "on")

    @property
    def off_file(self) -> Path:
        return self.config.spool.run_dir / OFF_FILE

    def sessions(self) -> list[Session]:
        spool = Spool(self.spool)
        return [spool.session(one) for one in spool.session_ids()]


@contextlib.contextmanager
def supplied(directory: Path, **options: Any) -> Iterator[Supplied]:
    one = Supplied(directory, **options)
    try:
        yield one
    finally:
        for name in list(one.processes):
            one.kill(name)
