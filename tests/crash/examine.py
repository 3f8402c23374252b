"""Holding what a world's spool holds against its model, and its ledgers against both."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from recorder.spool.spool import Spool
from recorder.spool.verify import verify
from tests.crash.lanes import RINGS
from tests.crash.model import Verdict
from tests.crash.reading import Graves, disagreement, rows_of, segments

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.session.ledger import LaneLedger
    from tests.crash.model import Row
    from tests.crash.world import World


def examine(world: World) -> tuple[Verdict, list[str]]:
    """Read the whole spool and judge it.

    Returns:
        The figures, and in words what is wrong beside them.
    """
    spool = Spool(world.spool)
    found: list[tuple[Row, bytes]] = []
    paths: list[Path] = []
    back: list[str] = []
    buried: set[Row] = set()
    counts: Counter[tuple[str, str]] = Counter()
    for session_id in spool.session_ids():
        given_up = Graves(spool, session_id)
        buried = buried.union(*(rows for path, rows in world.removed.items() if path in given_up))
        for path in segments(spool, session_id):
            paths.append(path)
            rows = list(rows_of(path))
            if given_up.hide(path):
                back.append(f"{path.parent.name}/{path.name}: came back, and nobody names it")
            if path in given_up:
                buried |= {row for row, _ in rows}
            else:
                counts[session_id, path.parent.name] += len(rows)
                found += rows
    for one in world.ended(spool):
        buried |= one.buried
    verdict = world.model.judge(found, buried)
    problems = [*back, *map(disagreement, paths), *_verified(world, spool)]
    problems = [one for one in problems if one]
    if world.is_settled:
        more, words = _accounts(world, spool, counts)
        verdict, problems = verdict + more, problems + words
    return verdict, problems


def _verified(world: World, spool: Spool) -> list[str]:
    """Return what the product's own check finds.

    What a loss of power tore is no finding, nor are lines of a journal that a failed sync dropped:
    nobody was told of them. Nor is what lies behind the watermark while the disk fails: bytes that
    the kernel dropped, until they are cut off and written again.
    """
    problems: list[str] = []
    checked = verify(spool.directory)
    for one in checked.sessions:
        boot = spool.session(one.id).boot_id
        is_cut = boot != world.boots[-1]
        for lane in one.lanes:
            is_in_doubt = is_cut or not world.is_settled
            if lane.doubled or not (is_in_doubt or lane.is_sound):
                problems += lane.problems
        problems += [] if is_cut or boot in world.faulty_boots else one.problems
    return problems + checked.problems


def _accounts(
    world: World, spool: Spool, counts: Counter[tuple[str, str]]
) -> tuple[Verdict, list[str]]:
    """Hold the ledgers against what is there and against what was acquired."""
    words: list[str] = []
    totals: Counter[tuple[str, str]] = Counter()
    assert world.spooler is not None
    running = world.spooler.recording
    for session_id in spool.session_ids():
        is_running = running is not None and running.session.id == session_id
        session = running.session if running and is_running else spool.session(session_id)
        buried = _buried(spool, session.id, is_told=is_running)
        for one in session.lanes:
            words += [f"{session.id} {text}" for text in one.imbalances() + _negative(one)]
            there = counts[session.id, one.name] + buried[one.name]
            if one.held != there:
                words.append(f"{session.id} {one.name}: held {one.held}, there are {there}")
            if session.boot_id == world.boots[-1]:
                totals += Counter(_totals(one))
    for gone in world.ended(spool):
        if gone.session.boot_id == world.boots[-1]:
            totals += sum((Counter(_totals(one)) for one in gone.session.lanes), Counter())
    for name in RINGS:
        words += _against_truth(world, name, totals)
    return Verdict(unaccounted=len(words)), words


def _buried(spool: Spool, session_id: str, *, is_told: bool) -> Counter[str]:
    """Return rows, by lane, that the newest record holds though they were given up.

    Delivered ones stay in the books, and of what was given up since the record was written only
    the tombstones tell, if that record is not the one in the process's memory (`is_told`).
    """
    found: Counter[str] = Counter()
    for one in reversed(spool.entries(session_id)):
        is_told = is_told or one["entry"] == "session"
        if one["entry"] == "evicted" and (one["delivered"] or not is_told):
            found[one["lane"]] += one["rows"]
    return found


def _negative(one: LaneLedger) -> list[str]:
    return [f"{one.name}: {key} {n}" for key, n in vars(one).items() if type(n) is int and n < 0]


def _totals(one: LaneLedger) -> dict[tuple[str, str], int]:
    return {(one.name, "acquired"): one.acquired, (one.name, "lost_ring"): one.lost_ring}


def _against_truth(world: World, lane: str, totals: Counter[tuple[str, str]]) -> list[str]:
    """Hold the books of this boot against what its lane acquired and what it dropped.

    What was dropped behind the last record only the end of a recording may know of.
    """
    model = world.model
    held, told, untold = (
        sum(one.lane == lane and one.epoch in world.lanes.epochs for one in rows)
        for rows in (model.acquired, model.dropped, model.untold)
    )
    acquired, lost = totals[lane, "acquired"], totals[lane, "lost_ring"]
    if acquired - lost == held and told <= lost <= told + untold:
        return []
    return [
        f"{lane}: by the books {acquired} acquired, {lost} of them lost in the ring; in truth "
        f"{held + told} and {told}, and {untold} nobody told of"
    ]
