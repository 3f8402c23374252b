"""Running the state machine: how many examples, from which seed, and what came of it."""

from __future__ import annotations

import logging
import re
from collections import Counter

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.crash.machine import Machine
from tests.crash.model import Verdict

log = logging.getLogger(__name__)

STEPS = 30
#: So many examples are drawn from one seed; a search that goes on for long grows slow.
MOST_EXAMPLES = 500
_BATCH = 40


def run(examples: int, number: int, *, is_shrunk: bool = False) -> tuple[Verdict, Counter[str]]:
    """Run so many examples; the first that fails ends it.

    Args:
        examples: how many.
        number: the seed; the same gives the same examples.
        is_shrunk: whether an example that fails is made as short as can be, and printed.

    Raises:
        AssertionError: an example failed; what it is about is in the message.
    """
    Machine.tally.clear()
    Machine.verdict = Verdict()
    for done in range(0, examples, MOST_EXAMPLES):
        chosen = settings(
            max_examples=min(examples - done, MOST_EXAMPLES),
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=False,
            report_multiple_bugs=False,
            print_blob=False,
            phases=[Phase.generate, Phase.shrink] if is_shrunk else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(seed(number + done)(Machine), settings=chosen)
        log.info("%d of %d examples", min(done + MOST_EXAMPLES, examples), examples)
    return Machine.verdict, Counter(Machine.tally)


def first_failure(examples: int, number: int, like: str) -> str:
    """Return what the first example says that fails as is wanted, or nothing if none does.

    Args:
        examples: how many, about.
        number: the first seed.
        like: pattern of what it has to say. A wrong build may fail in many ways, and this is what
            the mistake itself does to the rows.
    """
    tried = 0
    while tried < examples:
        try:
            run(_BATCH, number)
        except Exception as error:  # noqa: BLE001 - a wrong build may fail in any way
            if re.search(like, str(error)):
                return str(error)
        tried += max(Machine.tally["examples"], 1)
        number += 1
    return ""
