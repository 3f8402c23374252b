"""Plots as inline SVG: rows per second with the gaps behind them, and how long commits took."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 640, 120
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 20, 22
WIDEST = 80  # of a bar
#: Where a scale may end, and steps between two of its marks: times a power of ten.
TOPS, STEPS = (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10), (1, 2, 5, 10)


def rates(
    title: str,
    points: Sequence[tuple[float, float]],
    gaps: Sequence[tuple[float, float]],
    end_s: float,
) -> str:
    """Return a plot of rows per second over time; gaps are marked, however short.

    Args:
        title: stands above it.
        points: seconds and rows per second.
        gaps: seconds, and how many seconds long.
        end_s: where its scale of time ends, so that plots below each other agree.
    """
    most = max((rate for _, rate in points), default=1.0) or 1.0
    most = _round(most * 1.05, TOPS)
    wide_s = max(end_s, 1e-9)

    def x(time_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(time_s / wide_s, 1.0)

    def y(rate: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - rate / most)

    bands = "".join(
        f'<rect class="gap" x="{x(at_s):.1f}" y="{TOP}"'
        f' width="{max(x(at_s + long_s) - x(at_s), 1.5):.1f}" height="{HEIGHT - TOP - BOTTOM}">'
        f"<title>{at_s:.1f} s: nothing for {long_s:.2f} s</title></rect>"
        for at_s, long_s in gaps
    )
    line = " ".join(f"{x(at_s):.1f},{y(rate):.1f}" for at_s, rate in points)
    scale = "".join(_level(y(value), _number(value)) for value in (0, most / 2, most))
    times = "".join(
        f'<text x="{x(at_s):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{_number(at_s)} s</text>'
        for at_s in _ticks(wide_s)
    )
    return _svg(title, HEIGHT, f'{bands}{scale}{times}<polyline class="line" points="{line}"/>')


def commits(histogram_ms: Mapping[str, int]) -> str:
    """Return how many commits took how long: a bar for each class of the spool's histogram."""
    used = [at for at, count in enumerate(histogram_ms.values()) if count] or [0]
    classes = list(histogram_ms.items())[used[0] : used[-1] + 1]
    most = max((count for _, count in classes), default=1) or 1
    wide = min((WIDTH - LEFT - RIGHT) / len(classes), WIDEST)
    bars = ""
    for at, (bound, count) in enumerate(classes):
        left = LEFT + at * wide
        high = (HEIGHT - TOP - BOTTOM - 12) * count / most
        base = HEIGHT - BOTTOM
        middle = left + wide / 2
        word = "longer" if bound == "inf" else f"≤ {bound} ms"
        bars += (
            f'<rect class="bar" x="{left + 2:.1f}" y="{base - high:.1f}" width="{wide - 4:.1f}"'
            f' height="{high:.1f}"/><text x="{middle:.1f}" y="{base - high - 3:.1f}"'
            f' text-anchor="middle">{count or ""}</text>'
            f'<text x="{middle:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{word}</text>'
        )
    return _svg("commits by how long they took", HEIGHT, bars)


def _svg(title: str, high: float, inner: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {high}" width="{WIDTH}" height="{high}" role="img">'
        f'<text class="title" x="0" y="12">{title}</text>{inner}</svg>'
    )


def _level(y: float, word: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{word}</text>'
    )


def _round(value: float, heads: Sequence[float]) -> float:
    """Return the next number that is not less and begins as one of the heads."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(head * power for head in heads if head * power >= value * (1 - 1e-9))


def _ticks(end: float) -> list[float]:
    step = _round(end / 8, STEPS)
    return [at * step for at in range(int(end / step) + 1)]


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:g}"
