"""One page of what the bench found: `python -m hil.report`.

It gathers the JUnit files of the last runs and the figures that scenarios left (`hil.figures`), and
writes one HTML file that needs nothing else: no network, no script.
"""

from __future__ import annotations

import argparse
import html
import platform
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from hil import plots
from hil.figures import FAILED, PASSED, RESULTS, Figures
from recorder import __version__
from recorder.session.ledger import CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

JUNIT = (Path("build/hil-units.xml"), Path("build/hil.xml"))
PAGE = Path("build/hil.html")
SKIPPED = "skipped"
#: Of what a failed test said.
MOST_WORDS = 4000
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 72rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .2rem; } p { margin: .3rem 0 .8rem; max-width: 46rem; }
.quiet { color: #666; } a { color: #1c5fa8; text-decoration: none; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th:nth-child(1) { width: 24%; } th:nth-child(2) { width: 5.5rem; } th:nth-child(3) { width: 4rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
         border-bottom: 1px solid #e4e4e4; }
th { color: #666; font-weight: 600; } .plain th:nth-child(1) { width: 60%; }
td.n, th.n { text-align: right; white-space: nowrap; }
.verdict { font-weight: 600; white-space: nowrap; }
.passed { color: #187a3c; } .failed { color: #b3261e; } .skipped { color: #8a6d00; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: .8rem; }
.plots { display: grid; gap: .4rem 1.6rem;
         grid-template-columns: repeat(auto-fill, minmax(30rem, 1fr)); }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: #666; } svg .title { fill: #1a1a1a; font-size: 12px; }
.grid { stroke: #e4e4e4; } .line { fill: none; stroke: #1c5fa8; stroke-width: 1.6; }
.gap { fill: #d9483b; fill-opacity: .28; } .bar { fill: #1c5fa8; fill-opacity: .75; }
"""


@dataclass(frozen=True)
class Result:
    """One line of the page.

    Args:
        suite: the file that it stands in, or the level of the bench.
        name: of the scenario or test.
        verdict: `passed`, `failed` or `skipped`.
        seconds: how long it took.
        words: what it said, or why it failed or was skipped.
        figures: what a scenario left, if it did.
    """

    suite: str
    name: str
    verdict: str
    seconds: float
    words: str = ""
    figures: Figures | None = None


def main(words: Sequence[str] | None = None) -> int:
    """Write the page; return 1 if something on it failed."""
    parser = argparse.ArgumentParser(prog="python -m hil.report", description=__doc__)
    parser.add_argument("--junit", type=Path, nargs="*", default=list(JUNIT), metavar="FILE")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    given = parser.parse_args(words)
    results = gathered(given.junit, given.results)
    write(results, given.page)
    sys.stdout.write(f"{given.page}: {_counted(results)}\n")
    return int(any(one.verdict == FAILED for one in results))


def gathered(junit: Iterable[Path], folder: Path) -> list[Result]:
    """Return all results: those of the tests with their figures, and figures without a test."""
    left = {one.name: one for one in map(Figures.read, sorted(folder.glob("*.json")))}
    results = []
    for path in junit:
        if path.exists():
            results += [replace(one, figures=left.pop(one.name, None)) for one in _tests(path)]
    for rest in left.values():
        suite = f"level {rest.level}, played {rest.played_at}"
        words = "; ".join(rest.problems)
        results.append(Result(suite, rest.name, rest.verdict, rest.seconds, words, rest))
    return results


def write(results: Sequence[Result], page: Path) -> None:
    """Write the page."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Edge recorder: the bench</title><style>{STYLE}</style>"
        f"{_head(results)}{_tables(results)}{''.join(_details(results))}</html>\n",
        encoding="utf-8",
    )


def _tests(path: Path) -> Iterator[Result]:
    # Our own file, which pytest wrote a moment ago.
    cases = ElementTree.parse(path).getroot().iter("testcase")
    for case in (one for one in cases if one.get("name")):  # of a run that was broken off: none
        verdict, words = PASSED, _told(case)
        for kind, word in (("failure", FAILED), ("error", FAILED), ("skipped", SKIPPED)):
            found = case.find(kind)
            if found is not None:
                verdict = word
                words = found.get("message", "") if word == SKIPPED else (found.text or "")
        plain = case.get("name", "")
        inner = re.fullmatch(r"test_\w+\[(.+)\]", plain)
        is_scenario = inner is not None and "test_scenarios" in case.get("classname", "")
        name = inner[1] if inner is not None and is_scenario else _sentence(plain)
        suite = case.get("classname", "").rpartition(".")[0] or path.stem
        yield Result(_folder(suite), name, verdict, float(case.get("time", 0)), words)


def _told(case: ElementTree.Element) -> str:
    return "; ".join(
        one.get("value", "") for one in case.iter("property") if one.get("name") == "told"
    )


def _sentence(name: str) -> str:
    plain, bracket, inner = name.removeprefix("test_").partition("[")
    return plain.replace("_", " ") + (f" ({inner.rstrip(']')})" if bracket else "")


def _folder(suite: str) -> str:
    """Return what a test's module says of where it was run."""
    folder = suite.rpartition(".")[2]
    return {"units": "level 0.5", "scenarios": "level 1"}.get(folder, f"level 1, {folder}")


def _counted(results: Sequence[Result]) -> str:
    verdicts = [one.verdict for one in results]
    return ", ".join(f"{verdicts.count(word)} {word}" for word in (PASSED, FAILED, SKIPPED))


def _head(results: Sequence[Result]) -> str:
    said = ", ".join(
        f'<span class="{part.split()[1]} verdict">{part}</span>'
        for part in _counted(results).split(", ")
    )
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    seconds = sum(one.seconds for one in results)
    about = f"Edge recorder {__version__}, {_commit()}, {platform.machine()}, Python"
    return (
        f"<h1>The bench: {said}</h1>"
        f'<p class="quiet">{html.escape(about)} {platform.python_version()}; written {now};'
        f" {seconds / 60:.1f} minutes of tests.</p>"
    )


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return "commit unknown"
    return f"commit {done.stdout.strip() or 'unknown'}"


def _tables(results: Sequence[Result]) -> str:
    found = ""
    for suite in dict.fromkeys(one.suite for one in results):
        ours = [one for one in results if one.suite == suite]
        is_recorded = any(one.figures is not None for one in ours)
        rows = "".join(_row(one, is_recorded) for one in ours)
        recorded = "<th>recorded, lost</th>" if is_recorded else ""
        kind = "" if is_recorded else ' class="plain"'
        found += (
            f"<h2>{html.escape(suite)}</h2><table{kind}><tr><th>what</th><th>verdict</th>"
            '<th class="n">s</th>'
            f"{recorded}<th>said</th></tr>{rows}</table>"
        )
    return found


def _row(one: Result, is_recorded: bool) -> str:
    name = html.escape(one.name)
    if one.figures is not None or one.verdict == FAILED:
        name = f'<a href="#{_anchor(one)}">{name}</a>'
    lanes = one.figures.lanes if one.figures is not None else {}
    recorded = "<br>".join(
        html.escape(f"{lane}: {figures.rows}{_lost(figures.lost)}")
        for lane, figures in lanes.items()
    )
    cell = f"<td>{recorded}</td>" if is_recorded else ""
    words = "see below" if one.verdict == FAILED else one.words
    if one.figures is not None and one.verdict != FAILED:
        words = "; ".join(one.figures.told)
    return (
        f'<tr><td>{name}</td><td class="verdict {one.verdict}">{one.verdict}</td>'
        f'<td class="n">{one.seconds:.1f}</td>{cell}<td>{html.escape(words)}</td></tr>'
    )


def _lost(lost: dict[str, int] | object) -> str:
    found = dict(lost) if isinstance(lost, dict) else {}
    said = ", ".join(f"{count} {CAUSES.get(cause, cause)}" for cause, count in found.items())
    return f"; lost: {said}" if said else ""


def _details(results: Iterable[Result]) -> Iterator[str]:
    yield "<h2>One by one</h2>"
    for one in results:
        if one.figures is None and one.verdict != FAILED:
            continue
        says = one.figures.says if one.figures is not None else ""
        yield f'<h3 id="{_anchor(one)}">{html.escape(one.name)}</h3><p>{html.escape(says)}</p>'
        if one.verdict == FAILED:
            problems = "\n".join(one.figures.problems) if one.figures is not None else ""
            yield f"<pre>{html.escape((problems or one.words)[-MOST_WORDS:])}</pre>"
        if one.figures is not None:
            yield f'<div class="plots">{"".join(_plots(one.figures))}</div>'


def _plots(figures: Figures) -> Iterator[str]:
    ends = [at_s for lane in figures.lanes.values() for at_s, _ in lane.rates]
    for name, lane in figures.lanes.items():
        title = f"{html.escape(name)}: rows per second"
        if lane.gaps:
            longest_s = max(long_s for _, long_s in lane.gaps)
            word = "gap" if len(lane.gaps) == 1 else "gaps"
            title += f", {len(lane.gaps)} {word}, the longest {longest_s:.2f} s"
        yield plots.rates(title, lane.rates, lane.gaps, max(ends, default=0.0))
    if figures.commits:
        told = figures.commits
        yield plots.commits(told["histogram_ms"])
        yield (
            f'<p class="quiet">{told["count"]} commits, the slowest {told["slowest_ms"]:.0f} ms;'
            f" a power cut costs at most {told['promise_ms']:.0f} ms.</p>"
        )


def _anchor(one: Result) -> str:
    return re.sub(r"\W+", "-", f"{one.suite} {one.name}")


if __name__ == "__main__":
    raise SystemExit(main())
