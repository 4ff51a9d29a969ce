"""Counts as people see them: bars of a distribution, a column over its blocks, how far values moved. No I/O."""

from __future__ import annotations

from typing import Literal

import numpy as np

from modelyard.monitor import distance
from modelyard.monitor.profile import Counts
from modelyard.monitor.report import Cell, Shift, Strip
from modelyard.monitor.sketch import Cells

_BARS = 16


def bars(column: Cells, before: np.ndarray, now: np.ndarray) -> tuple[Cell, ...]:
    """At most 20 bars; neighbouring cells of numbers are drawn as one, rare texts as one."""
    p, q = distance.shares(before[1:]), distance.shares(now[1:])
    names = _names(column)
    if column.kind == "continuous":
        groups = _even(p[2:], _BARS)
        low, high = np.array(column.edges[:-1]), np.array(column.edges[1:])
        made = [Cell(label=f"below {column.edges[0]:g}", reference=float(p[0]), current=float(q[0]))] if q[0] or p[0] else []
        made += [
            Cell(label=f"{low[g[0]]:g} to {high[g[-1]]:g}", reference=float(p[2:][g].sum()), current=float(q[2:][g].sum())) for g in groups
        ]
        return (*made, *([Cell(label=f"above {column.edges[-1]:g}", reference=float(p[1]), current=float(q[1]))] if q[1] or p[1] else []))
    novel = Cell(label="any other", reference=float(p[: column.novel].sum()), current=float(q[: column.novel].sum()))
    p, q = p[column.novel :], q[column.novel :]
    if column.kind == "discrete":
        made = [
            Cell(
                label=names[g[0]] if len(g) == 1 else f"{names[g[0]]} to {names[g[-1]]}",
                reference=float(p[g].sum()),
                current=float(q[g].sum()),
            )
            for g in _even(p, _BARS if len(names) > _BARS else len(names))
        ]
    else:
        shown = min(_BARS, len(names))
        made = [Cell(label=names[i], reference=float(p[i]), current=float(q[i])) for i in range(shown)]
        rest = Cell(label=f"{len(names) - shown} more", reference=float(p[shown:].sum()), current=float(q[shown:].sum()))
        made += [rest] if len(names) > shown else []
    return (*made, novel) if novel.reference or novel.current else tuple(made)


def moved(column: Cells, before: np.ndarray, now: np.ndarray) -> float | None:
    """Wasserstein distance in standard deviations of the reference; None where those are 0."""
    if not column.std:
        return None
    if column.kind == "discrete":
        values = np.array(column.values, dtype=np.float64)
        first, second = before[2:], now[2:]
    else:
        edges = np.array(column.edges)
        values = np.concatenate([edges[:1], (edges[:-1] + edges[1:]) / 2, edges[-1:]])
        first, second = (np.concatenate([c[1:2], c[3:], c[2:3]]) for c in (before, now))
    if not first.sum() or not second.sum():
        return None
    return distance.wasserstein(first, second, np.diff(values)) / column.std


def strip(column: Cells, before: Counts, now: Counts, reference: list[int], current: list[int], shift: Shift) -> Strip | None:
    """What moved, block by block, oldest first: what is missing or novel where that alarms, else the mean or the top value's share."""
    measure: Literal["mean", "missing", "novel", "top"] = "mean" if column.ordered else "top"
    if column.kind == "sequence" or (shift.missing and shift.missing.alarm):
        measure = "missing"
    elif shift.novel and shift.novel.alarm:
        measure = "novel"
    old = tuple(_measured(column, before.cells[column.name][b], measure) for b in reversed(reference))
    new = tuple(_measured(column, now.cells[column.name][b], measure) for b in reversed(current))
    return Strip(measure=measure, reference=old, current=new)


def _measured(column: Cells, counts: np.ndarray, measure: str) -> float | None:
    rows, known = counts.sum(), counts[1:].sum()
    if measure == "missing":
        return float(counts[0] / rows) if rows else None
    if not known:
        return None
    if measure == "novel":
        return float(counts[1 : 1 + column.novel].sum() / known)
    if measure == "top":
        return float(counts[1 + column.novel] / known) if column.values else None
    if column.kind == "discrete":
        held = counts[2:]
        return float(held @ np.array(column.values) / held.sum()) if held.sum() else None
    edges = np.array(column.edges)
    middle = np.concatenate([edges[:1], edges[-1:], (edges[:-1] + edges[1:]) / 2])
    return float(counts[1:] @ middle / known)


def _names(column: Cells) -> list[str]:
    return [value if isinstance(value, str) else f"{value:g}" for value in column.values]


def _even(shares: np.ndarray, bars_: int) -> list[np.ndarray]:
    """Positions of neighbouring cells in groups of roughly equal share."""
    if len(shares) <= bars_:
        return [np.array([i]) for i in range(len(shares))]
    middle = np.cumsum(shares) - shares / 2
    group = np.minimum((middle / max(float(shares.sum()), 1e-12) * bars_).astype(np.int64), bars_ - 1)
    return [np.flatnonzero(group == g) for g in sorted(set(group.tolist()))]
