"""Where one campaign plays: a vehicle's spool, an uploader, a link, a station, and keys."""

from __future__ import annotations

import random
import shutil
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder import config, status
from tests.chaos.oracle import judge_now
from tests.chaos.processes import DONE, KILLED, Child, Orders, station, upload
from tests.chaos.proxy import HOST, Proxy
from tests.chaos.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PERMISSIONS = {
    "delete": ("read", "write", "delete"),
    "write": ("read", "write"),
    "read": ("read",),
}
#: Entries of the uploader's journal, each a step at which it may die, and the write of a batch.
STEPS = (
    *("planned", "sequence", "opened", "created", "putting", "write", "put_ok", "receipt"),
    *("abandoned", "told", "final", "finalized", "done"),
)
LOOK_S = 0.02
TAIL_CHARS = 2000


class SceneError(Exception):
    """A process did what none may do: it ended by itself, or did not end when it was told to."""


@dataclass
class Dead:
    """How often processes were killed; `steps`: uploaders that died at a step of their journal."""

    uploaders: int = 0
    stations: int = 0
    steps: Counter[str] = field(default_factory=Counter)


class Scene:
    """One campaign's folder, processes and link; a context manager.

    Args:
        folder: empty or made; `data` in it is the vehicle's directory.
        dice: of every choice.
        build: the uploader's.
        steps: of `STEPS`, where it may die.
    """

    def __init__(
        self, folder: Path, dice: random.Random, build: str, steps: Sequence[str] = STEPS
    ) -> None:
        self.folder, self.dice, self.build = folder, dice, build
        self._steps = steps
        self.policy = "report"
        self._ordered = ""
        self.data, self.ground = folder / "data", folder / "ground"
        folder.mkdir(exist_ok=True)
        self.link = Proxy()
        self.boot_file = folder / "boot_id"
        self.boot_file.write_text(str(uuid.uuid4()))
        self._station: Child | None = None
        self._uploader: Child | None = None
        self._tokens: dict[str, str] = {}
        self._key_file = folder / "key"
        self.dead = Dead()
        self.has_spent_names = False

    # --- the station

    def station(self, death: int = 0) -> Child:
        """Return the station, started if it does not run; it dies at a durable step, 0: none."""
        while self._station is None or self._station.code is not None:
            self._bury_station()
            self._station = Child(station, self.ground, self.folder / "station.log", death)
            try:
                self.link.station_port = self._station.hear()
                for name, permissions in PERMISSIONS.items():
                    if name not in self._tokens:
                        self._tokens[name] = self._station.ask("key", permissions)
            except EOFError:  # its death came before anybody called
                self._station.end()
            death = 0
        return self._station

    def kill_station(self) -> None:
        if self._station is not None and self._station.code is None:
            self._station.kill()
        self._bury_station()

    def _bury_station(self) -> None:
        if self._station is None:
            return
        code = self._station.code
        if code != KILLED:
            raise SceneError(f"the station ended by itself with {code}: {self.said('station')}")
        self.dead.stations += 1
        self._station = None

    def end_station(self) -> None:
        """Let the station end as on request."""
        if self._station is not None and self._station.code is None:
            self._station.pipe.send(("end",))
            code = self._station.end()
            if code != DONE:
                raise SceneError(f"the station ended with {code}: {self.said('station')}")
        self._station = None

    # --- keys

    def give_key(self, name: str) -> None:
        """Give the vehicle the key of a name; a running uploader has it after its next hang-up."""
        self.has_spent_names |= name != "delete"
        draft = self._key_file.with_suffix(".draft")
        draft.touch(mode=0o600)
        draft.write_text(self._tokens[name])
        draft.replace(self._key_file)

    def revoke_key(self, name: str) -> None:
        """Revoke the key of a name, and make a new one that nobody has yet."""
        running = self.station()
        running.limit_files(-1)
        try:
            running.ask("revoke", self._tokens[name])
            self._tokens[name] = running.ask("key", PERMISSIONS[name])
        except (EOFError, BrokenPipeError):  # the station died of it
            running.end()

    # --- the uploader

    def settings(self, **upload_table: Any) -> config.Config:
        """Return the vehicle's configuration."""
        table = {
            "mode": "after_close",
            "server": f"grpc://{HOST}:{self.link.port}",
            "key_file": self._key_file,
            "part_bytes": 60_000,
            "part_s": 3600.0,
            "policy": self.policy,
            **upload_table,
        }
        return config.Config(
            lanes=[config.Lane(name="imu", driver="mpu6050")],
            vehicle=config.Vehicle(name="car 7"),
            spool=config.Spool(directory=self.data, run_dir=self.folder / "run"),
            upload=config.Upload(**table),
        )

    def orders(self, settings: config.Config | None = None, **changes: Any) -> Orders:
        """Return what an uploader is told; without changes nothing happens to it."""
        text = config.to_json(settings or self.settings())
        plain = Orders(text, self.folder / "uploader.log", self.boot_file, self.build)
        return replace(plain, **changes)

    def death(self) -> tuple[str, str, int]:
        """Choose a step at which an uploader dies."""
        dice = self.dice
        step, number = dice.choice(self._steps), dice.choice((1, 1, 2, 5, 12))
        return dice.choice(("before", "after")), step, number

    def clock_step(self) -> float:
        """Choose by how much the vehicle's clock is wrong from now on, in s: up to years."""
        return self.dice.choice((-1, 1)) * 10 ** self.dice.uniform(0, 8)

    @property
    def is_uploading(self) -> bool:
        return self._uploader is not None and self._uploader.code is None

    def start_uploader(self, orders: Orders) -> None:
        self.bury_uploader()
        self._uploader = Child(upload, orders)
        self._ordered = f"{orders.death[0]} {orders.death[1]}" if orders.death else ""

    def kill_uploader(self) -> None:
        if self._uploader is not None and self._uploader.code is None:
            self._uploader.kill()
            self._ordered = ""
        self.bury_uploader()

    def stop_uploader(self) -> None:
        """Ask the uploader to end, as the system does, and wait for it."""
        if self._uploader is not None:
            self._uploader.stop()
            if self._uploader.end() is None:
                raise SceneError(f"the uploader does not end: {self.said('uploader')}")
        self.bury_uploader()

    def bury_uploader(self) -> None:
        """Take note of how a dead uploader ended; one that lives is an error."""
        if self._uploader is None:
            return
        code, self._uploader = self._uploader.code, None
        if code not in (DONE, KILLED):
            raise SceneError(f"the uploader ended with {code}: {self.said('uploader')}")
        self.dead.uploaders += code == KILLED
        if code == KILLED and self._ordered:
            self.dead.steps[self._ordered] += 1

    # --- waiting and looking

    @property
    def has_died(self) -> bool:
        """Whether a process is dead that should be there."""
        return any(one and one.code is not None for one in (self._uploader, self._station))

    def wait(self, limit_s: float, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Wait until a process died or something is over; False if the limit came first."""
        until_s = time.monotonic() + limit_s
        children = [one for one in (self._uploader, self._station) if one is not None]
        while time.monotonic() < until_s:
            if is_over() or wait([one.sentinel for one in children], LOOK_S):
                return True
        return False

    def is_drained(self) -> bool:
        """Tell whether the running uploader says that everything is on the server."""
        sign = status.read(self.folder / "run", "upload")
        mine = self._uploader is not None and sign is not None and sign["pid"] == self._uploader.pid
        return mine and sign is not None and bool(sign["drained"])

    def look(self, ids: list[str]) -> Verdict:
        """Judge what must hold at every instant."""
        return judge_now(self.data, self.ground, ids, self.policy)

    def drain(self, limit_s: float) -> None:
        """End all faults and upload everything.

        Raises:
            SceneError: it does not come to an end.
        """
        self.link.heal()
        self.station().limit_files(-1)
        self.kill_uploader()
        self.kill_station()
        self.station()
        self.start_uploader(self.orders(by_hand=True))
        if not self.wait(limit_s):
            self.kill_uploader()
            raise SceneError(f"not uploaded after {limit_s} s: {self.said('uploader')}")
        self.kill_uploader()
        self.end_station()

    def said(self, who: str) -> str:
        """Return the last words of a process."""
        file = self.folder / f"{who}.log"
        return file.read_text(errors="replace")[-TAIL_CHARS:] if file.exists() else ""

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._uploader, self._station):
            if one is not None:
                one.kill()
        self.link.close()
        shutil.rmtree(self.folder, ignore_errors=True)
