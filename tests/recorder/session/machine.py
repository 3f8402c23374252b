"""Random lives of a session, held against the published table: `python -m … N` runs N of them.

The table below is written down from the model's own page, not from the code; what a life did is
kept in plain counts beside the session, so that a session that miscounts is found.
"""

from __future__ import annotations

import random
import sys
from typing import Any

from recorder.session.ledger import LaneLedger
from recorder.session.session import Session

S = 1_000_000_000
CODES = {"waiting": 1, "open": 2, "closed": 4, "truncated": 12, "failed": 28, "abandoned": 44}
CLEAN = ("operator", "rule", "shutdown", "roll_over")
ORPHAN = ("power_loss", "watchdog")
ERRORS = ("exception:OSError", "exception:ValueError")
EVENTS = (
    "sample", "sample", "sample", "first", "lose", "evict", "deliver", "deliver", "beat", "stop",
    "finish", "late", "json",
)  # fmt: skip


class Life:
    """One session and what happened to it.

    Args:
        seed: of the events.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        lanes = [LaneLedger("a", rate_hz=10.0), LaneLedger("b", rate_hz=5.0, required=False)]
        self.session = Session("id", "00" * 16, "Test", "", "car", lanes=lanes)
        self.now = S
        self.reason = ""
        self.is_terminal = False
        self.gone = 0
        self.times: list[int] = []

    def run(self, steps: int) -> None:
        """Let so many events happen, and hold what must hold after each."""
        after = self.session.to_dict()
        for _ in range(steps):
            before = after
            event = self.dice.choice(EVENTS)
            self.now += self.dice.randrange(1, 10 * S)
            getattr(self, f"_{event}")()
            after = self.session.to_dict()
            self._hold(before, after, event)

    def _sample(self) -> None:
        if self.session.recording == "stopped":
            return
        account = self.dice.choice(self.session.lanes)
        account.expected += 1
        account.acquired += 1
        account.stored += 1
        account.pending += 1
        account.first_boot_ns = account.first_boot_ns or self.now
        account.last_boot_ns = self.now
        self.times.append(self.now)
        if self.session.state.name == "waiting":
            self.session.happen("first_sample")

    def _first(self) -> None:
        if self.session.state.name == "open":
            self.session.happen("first_sample")  # said twice: nothing changes

    def _lose(self) -> None:
        account = self.dice.choice(self.session.lanes)
        if self.session.recording == "running":
            account.expected += 1
            account.lost_absent += 1

    def _evict(self) -> None:
        account = self.dice.choice(self.session.lanes)
        if account.pending and not self.is_terminal:
            account.pending -= 1
            cause = self.dice.choice(["lost_evicted", "lost_crc", "lost_rejected"])
            setattr(account, cause, getattr(account, cause) + 1)
            self.gone += 1

    def _deliver(self) -> None:
        for account in self.session.lanes:
            if account.pending and not self.is_terminal:
                account.pending -= 1
                account.delivered += 1

    def _beat(self) -> None:
        if not self.is_terminal:
            self.session.beat(self.now, self.now + 7)

    def _stop(self) -> None:
        reason = self.dice.choice((*CLEAN, *ORPHAN, *ERRORS))
        self.session.stop(reason)
        self.reason = self.reason or reason

    def _finish(self) -> None:
        if any(one.pending for one in self.session.lanes):
            return  # whoever finishes has drained it
        is_due = bool(self.reason) and not self.is_terminal
        try:
            self.session.finish()
        except ValueError:
            assert not is_due
        else:
            assert is_due
            self.is_terminal = True

    def _late(self) -> None:
        if self.is_terminal:
            try:
                self.session.happen("first_sample")
            except ValueError:
                return
            raise AssertionError("a terminal session took a sample")

    def _json(self) -> None:
        self.session = Session.from_dict(self.session.to_dict())

    def _awaited(self) -> str:
        if not self.is_terminal:
            return "open" if self.times else "waiting"
        if self.reason in ORPHAN:
            return "abandoned"
        if self.reason in ERRORS:
            return "failed"
        return "truncated" if self.gone else "closed"

    def _hold(self, before: dict[str, Any], after: dict[str, Any], event: str) -> None:
        assert after["state"] == self._awaited(), (event, after)
        assert after["state_code"] == CODES[after["state"]]
        assert after["ledger_ok"]
        assert after["end_reason"] == (self.reason or None)
        assert after["recording"] == ("stopped" if self.reason else "running")
        assert after["duration_ns"] == (self.times[-1] - self.times[0] if self.times else 0)
        assert after["revision"] >= before["revision"]
        assert after["heartbeat_seq"] == before["heartbeat_seq"] + (
            event == "beat" and not self.is_terminal
        )
        if event == "beat":
            assert (after["state"], after["duration_ns"]) == (
                before["state"],
                before["duration_ns"],
            )
        if before["state_code"] & 4:
            assert after == before
        self._hold_quality(after)

    def _hold_quality(self, after: dict[str, Any]) -> None:
        assert 0.0 <= after["quality_lower"] <= after["quality"] <= 1.0
        lost = sum(one["expected"] - one["delivered"] - one["pending"] for one in after["lanes"])
        if after["quality"] == 1.0 and after["quality_basis"] != "default":
            assert lost == 0
        due = sum(one["expected"] for one in after["lanes"])
        is_default = not due and not self.times and not self.is_terminal
        assert (after["quality_basis"] == "default") == is_default
        if is_default:
            assert after["quality"] == 0.9
        if after["state_code"] & 4:
            assert after["quality_basis"] in ("delivered", "no_data")
            if not self.times:
                assert (after["quality"], after["quality_basis"]) == (0.0, "no_data")


def main(lives: int) -> None:
    """Run so many lives of 25 events each."""
    ends = dict.fromkeys(CODES, 0)
    for seed in range(lives):
        one = Life(seed)
        one.run(25)
        ends[one.session.state.name] += 1
    sys.stdout.write(f"{lives} lives of 25 events, none broke a rule; they ended {ends}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
