"""The state machine: whatever may happen to a recorder, in any order, against the model."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.crash.examine import examine
from tests.crash.lanes import RINGS
from tests.crash.model import Verdict
from tests.crash.uploading import acknowledge, conclude
from tests.crash.world import FLOOR_BYTES, World

LANES = st.sampled_from(sorted(RINGS))
#: After so many changes of the disk or of the memory the process ends.
STEPS = st.integers(0, 30)
is_alive = precondition(lambda self: self.world.spooler is not None)


class Machine(RuleBasedStateMachine):
    """One vehicle's life."""

    #: What happened in all examples, and what was wrong.
    tally: ClassVar[Counter[str]] = Counter()
    verdict: ClassVar[Verdict] = Verdict()
    world: World

    @initialize(
        seed=st.integers(0, 2**32),
        is_own=st.booleans(),
        is_uploading=st.booleans(),
        steps=STEPS,
        dies=st.booleans(),
    )
    def begin(self, seed: int, is_own: bool, is_uploading: bool, steps: int, dies: bool) -> None:
        self.world = World(seed, is_own=is_own, is_uploading=is_uploading).__enter__()
        self.tally["examples"] += 1
        if dies:
            self._die(steps)
        self.world.start_spool()

    # Data

    @rule(name=LANES, times=st.integers(1, 12), absent=st.sampled_from([0, 0, 0, 3]))
    def acquire(self, name: str, times: int, absent: int) -> None:
        for _ in range(times):
            self.world.lanes.put(name, absent)

    @rule(name=LANES)
    def fill_the_ring(self, name: str) -> None:
        self.tally["full rings"] += 1
        while self.world.lanes.put(name):
            pass

    @rule(name=LANES, anchor=st.booleans())
    def say(self, name: str, anchor: bool) -> None:
        self.world.lanes.say(name, anchor=anchor)

    @rule(name=LANES)
    def kill_the_lane(self, name: str) -> None:
        self.tally["kills of a lane"] += 1
        self.world.lanes.kill(name)

    @rule(seconds=st.sampled_from([0.1, 1.5, 25.0]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    # The spool's process

    @is_alive
    @rule()
    def commit(self) -> None:
        self.tally["commits"] += 1
        self.world.commit()
        if self.world.is_settled:
            self._examine()

    @is_alive
    @rule(rounds=st.integers(2, 6))
    def drive(self, rounds: int) -> None:
        """Let all lanes acquire, and commit, as on most days."""
        for _ in range(rounds):
            for name in RINGS:
                self.acquire(name, 3, 0)
            if self.world.spooler is not None:
                self.commit()

    @is_alive
    @rule(steps=STEPS)
    def die_in_a_commit(self, steps: int) -> None:
        self._die(steps)
        self.world.commit()

    @is_alive
    @rule(command=st.sampled_from(["new", "new", "stop"]), steps=STEPS, dies=st.booleans())
    def roll_over(self, command: str, steps: int, dies: bool) -> None:
        self.tally["orders"] += 1
        if dies:
            self._die(steps)
        self.world.order(command)
        self.world.order("start")
        if command == "stop" and not self.world.is_recording:
            self._start_again()

    def _start_again(self) -> None:
        """Ask once more, on a good disk: what was stopped stays so, and passes rows over."""
        self.heal_the_disk()
        if self.world.spooler is None:
            self.world.start_spool()
        self.world.order("start")

    @is_alive
    @rule()
    def kill_the_spool(self) -> None:
        self.tally["kills of the spool"] += 1
        self.world.kill_spool()

    @rule(steps=STEPS, dies=st.sampled_from([False, False, True]))
    def restart(self, steps: int, dies: bool) -> None:
        if self.world.spooler is None:
            if dies:
                self.tally["kills in recovery"] += 1
                self._die(steps)
            self.world.start_spool()
            self._examine()

    # The machine and its disk

    @rule(steps=STEPS, cuts=st.integers(0, 2))
    def cut_the_power(self, steps: int, cuts: int) -> None:
        """Cut the power, in a commit if the process lives, and then while it recovers."""
        self._die(steps)
        self.world.commit()
        for _ in range(cuts):
            self.tally["cuts in recovery"] += 1
            self.world.cut_power()
            self._die(steps)
            self.world.start_spool()
        self.tally["power cuts"] += 1
        self.world.cut_power()
        self.world.start_spool()
        self._examine()

    @rule(room_bytes=st.integers(0, 3 * FLOOR_BYTES))
    def fill_the_disk(self, room_bytes: int) -> None:
        self.tally["full disks"] += 1
        self.world.disk.faults.capacity_bytes = self.world.disk.used_bytes() + room_bytes

    @rule(errors=st.integers(1, 2))
    def let_syncs_fail(self, errors: int) -> None:
        self.tally["failed syncs"] += 1
        self.world.let_syncs_fail(errors)

    @is_alive
    @rule(kills=st.booleans())
    def commit_what_cannot_be_synced(self, kills: bool) -> None:
        """Let a commit fail, and perhaps its process die; then the disk says that all is well."""
        self.let_syncs_fail(1)
        for name in RINGS:
            self.acquire(name, 2, 0)
        self.world.commit()
        if kills:
            self.kill_the_spool()
        self.world.disk.faults.sync_errors = 0

    @rule()
    def make_the_disk_read_only(self) -> None:
        self.tally["read-only disks"] += 1
        self.world.disk.faults.is_read_only = True

    @rule()
    def heal_the_disk(self) -> None:
        faults = self.world.disk.faults
        faults.capacity_bytes, faults.is_read_only, faults.sync_errors = None, False, 0

    @precondition(lambda self: self.world.is_uploading and self.world.has_spool)
    @rule()
    def acknowledge(self) -> None:
        self.tally["acknowledged"] += 1
        acknowledge(self.world)

    @precondition(lambda self: self.world.is_uploading and self.world.has_spool)
    @rule()
    def conclude(self) -> None:
        self.tally["concluded"] += 1
        acknowledge(self.world)
        conclude(self.world)

    def teardown(self) -> None:
        """Let everything end well, and judge the whole."""
        if not hasattr(self, "world"):
            return
        try:
            self.heal_the_disk()
            if self.world.spooler is None:
                self.world.start_spool()
            self.world.order("start")
            for _ in range(2):
                self.world.commit()
            assert self.world.is_settled, f"nothing is wrong and it says: {self.world.trouble}"
            self._examine()
        finally:
            self.tally.update(self.world.counts)
            self.world.__exit__()

    def _die(self, steps: int) -> None:
        self.world.disk.faults.steps_left = steps

    def _examine(self) -> None:
        if not self.world.has_spool:
            return
        with self.world.disk.aside():
            verdict, words = examine(self.world)
        type(self).verdict = self.verdict + verdict
        assert not verdict, f"{verdict}: {words}"
        assert not words, words
