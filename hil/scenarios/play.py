"""Playing a scenario on a bench, whatever machine that is, and what is left of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hil import figures
from hil.scenarios.judge import judge

if TYPE_CHECKING:
    from pathlib import Path

    from hil.scenarios.bench import Bench
    from hil.scenarios.recording import Recording
    from hil.scenarios.scenario import Scenario


def play(
    scenario: Scenario, bench: Bench, level: str, results: Path = figures.RESULTS
) -> tuple[list[str], str]:
    """Play a scenario; return what is wrong with the recording, and what is in it.

    Its figures are written into `results`, also if it does not come to its end.

    Args:
        scenario: what happens.
        bench: on which; it runs, with nothing plugged in.
        level: of the bench, for the figures.
        results: the folder for them.
    """
    begin_s = time.monotonic()
    recording: Recording | None = None
    problems = ["it did not come to its end"]
    try:
        for step in scenario.steps:
            step(bench)
        recording = bench.recording()
        problems = judge(scenario, recording, bench)
        if scenario.shows is not None:
            scenario.shows(recording, bench)
    except BaseException as error:  # whatever it is that ends it
        problems = [*problems, str(error)]
        raise
    finally:
        figures.Figures(
            name=scenario.name,
            says=scenario.says,
            level=level,
            verdict=figures.FAILED if problems else figures.PASSED,
            seconds=time.monotonic() - begin_s,
            problems=problems,
            told=bench.told,
            lanes=figures.of_recording(recording, scenario.lost) if recording else {},
            commits=bench.commits,
        ).write(results)
    return problems, ", ".join(_shown(recording, lane) for lane in scenario.lost)


def _shown(recording: Recording, lane: str) -> str:
    lost = "".join(f" {cause} {n}" for cause, n in recording.losses(lane).items())
    return f"{lane} {recording.ledger(lane).stored}{lost}"
