"""What the demo prints: one table of lanes, one of processes, the session record, one last line."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from rich.table import Table

from recorder.clock import iso_utc
from recorder.session.ledger import CAUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from recorder.demo.processes import Usage
    from recorder.demo.result import LaneResult
    from recorder.session.session import Session


def show(
    console: Console,
    lanes: Sequence[LaneResult],
    usage: Sequence[Usage],
    session: Session,
    findings: Sequence[str],
) -> None:
    """Print everything that the demo found."""
    console.print(_lanes(lanes))
    console.print(_processes(usage))
    console.print(_session(session))
    for finding in findings:
        console.print(f"  {finding}", style="red", markup=False)
    console.print(last_line(findings), markup=False, highlight=False)


def last_line(findings: Sequence[str]) -> str:
    """Return the demo's last line."""
    if not findings:
        return "demo: reconciled"
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return f"demo: NOT reconciled: {findings[0]}{more}"


def _lanes(lanes: Sequence[LaneResult]) -> Table:
    table = Table(title="From the devices to the server and back", title_justify="left")
    table.add_column("samples")
    for one in lanes:
        table.add_column(one.name, justify="right")
    lines: dict[str, Callable[[LaneResult], object]] = {
        "produced (the model's own log)": lambda one: one.produced,
        "due, and not produced": lambda one: one.silent,
        "acquired": lambda one: one.acquired,
        **_losses(lanes),
        "stored in the spool": lambda one: one.stored,
        "delivered to the server": lambda one: one.delivered,
        "read back by the SDK": lambda one: one.read_back,
        "read back as": lambda one: one.read_as,
        "largest time error, ms": lambda one: f"{one.time_error_ms:.1f}",
        "values compared": lambda one: one.values,
        "values that differ": lambda one: one.wrong,
    }
    for title, value in lines.items():
        table.add_row(title, *(str(value(one)) for one in lanes))
    return table


def _losses(lanes: Sequence[LaneResult]) -> dict[str, Callable[[LaneResult], object]]:
    """Return a line per cause that took a sample of any lane; one line if there is none."""
    causes = [cause for cause in CAUSES if any(cause in one.lost for one in lanes)]
    if not causes:
        return {"lost": lambda _: 0}
    return {f"lost: {CAUSES[cause]}": functools.partial(_lost_to, cause=cause) for cause in causes}


def _lost_to(one: LaneResult, *, cause: str) -> int:
    return one.lost.get(cause, 0)


def _processes(usage: Sequence[Usage]) -> Table:
    table = Table(title="Processes", title_justify="left")
    table.add_column("process")
    for title in ("RSS MB", "and rings MB", "CPU %"):
        table.add_column(title, justify="right")
    for one in usage:
        sizes = (f"{size / 1e6:.1f}" for size in (one.rss_bytes, one.ring_bytes))
        table.add_row(one.name, *sizes, f"{one.cpu_percent:.1f}")
    return table


def _session(session: Session) -> Table:
    found = session.quality
    facts: dict[str, Any] = {
        "id": session.id,
        "identifier": session.identifier,
        "type": session.type,
        "state": f"{session.state.name}, recording {session.recording} ({session.end_reason})",
        "start": f"{iso_utc(session.start_utc_ns)} (clock: {session.clock_source})",
        "duration": f"{session.duration_ns / 1e9:.3f} s",
        "quality": f"{found.value:.4f} ({found.basis}), worst {found.least:.4f} {found.least_lane}",
        "heartbeats": session.heartbeat_seq,
    }
    table = Table(title="Session", title_justify="left", show_header=False)
    for key, value in facts.items():
        table.add_row(key, str(value))
    return table
