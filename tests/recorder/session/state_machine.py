"""The table of states as a state machine of hypothesis: `python -m … N` runs N examples.

Hypothesis chooses the events and what they hit, and makes a life that breaks a rule as short as can
be; what must hold after each is in `machine`.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.recorder.session.machine import EVENTS, Life, S

STEPS = 20


class Sessions(RuleBasedStateMachine):
    """One session's life."""

    #: States in which examples ended.
    ends: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.life = Life(0)
        self._told = self.life.session.to_dict()

    @rule(
        event=st.sampled_from(sorted(set(EVENTS))),
        chance=st.integers(0, 2**16),
        passed_ns=st.integers(1, 20 * S),
    )
    def happen(self, event: str, chance: int, passed_ns: int) -> None:
        before, life = self._told, self.life
        life.dice.seed(chance)
        life.now += passed_ns
        getattr(life, f"_{event}")()
        self._told = life.session.to_dict()
        life._hold(before, self._told, event)

    def teardown(self) -> None:
        Sessions.ends[self.life.session.state.name] += 1


def run(examples: int) -> None:
    """Run so many examples; the first that breaks a rule ends it, shortened."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Sessions, settings=chosen)


if __name__ == "__main__":
    began_s = time.process_time()
    run(int(sys.argv[1]))
    ended = ", ".join(f"{name} {n}" for name, n in sorted(Sessions.ends.items()))
    took_s = time.process_time() - began_s
    sys.stdout.write(f"{sum(Sessions.ends.values())} examples of at most {STEPS} events, ")
    sys.stdout.write(f"none broke a rule; they ended {ended}; {took_s:.0f} s of CPU\n")
