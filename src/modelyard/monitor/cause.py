"""Which segments carry a column's shift: exact, from counts by segment. No I/O."""

from __future__ import annotations

import numpy as np

from modelyard.monitor.distance import shares
from modelyard.monitor.profile import Counts, Profile
from modelyard.monitor.report import Part, Shift
from modelyard.monitor.sketch import Cells

_OTHERS = "(others)"
_SHOWN = 5


def parts(profile: Profile, current: Counts, column: Cells, shift: Shift) -> tuple[Part, ...]:
    r"""Split a shift by segment, largest part first.

    With :math:`p, q` the shares of the cells in reference and window, :math:`w_s, w'_s` the segment's shares of the rows and
    :math:`p_s, q_s` the cells' shares inside of it,

    .. math:: q - p = \sum_s \underbrace{(w'_s - w_s)(p_s - p)}_{\text{mix}} + \underbrace{w'_s (q_s - p_s)}_{\text{within}}

    is exact. Each part is measured along the signs of :math:`q - p` and divided by the total variation, so all parts add up to 1.
    """
    found: list[Part] = []
    for segment, values in profile.layout.segments.items():
        if segment == column.name:
            continue
        found += _by(segment, values, profile.counts, current, column, shift)
    found.sort(key=lambda part: (-abs(part.mix + part.within), part.segment, part.value))
    return tuple(found[:_SHOWN])


def _by(segment: str, values: tuple[str, ...], before: Counts, now: Counts, column: Cells, shift: Shift) -> list[Part]:
    old = _asked(before.segments[segment][column.name], column, shift)
    new = _asked(now.segments[segment][column.name], column, shift)
    total_old, total_new = old.sum(), new.sum()
    if not total_old or not total_new:
        return []
    p, q = shares(old.sum(axis=0)), shares(new.sum(axis=0))
    sign = np.sign(q - p)
    whole = float(np.abs(q - p).sum())
    if not whole:
        return []
    found = []
    for i, value in enumerate([*values, _OTHERS]):
        w, w_now = old[i].sum() / total_old, new[i].sum() / total_new
        if not w and not w_now:
            continue
        inside = shares(old[i]) if w else p
        inside_now = shares(new[i]) if w_now else inside
        mix = float(sign @ ((w_now - w) * (inside - p))) / whole
        within = float(sign @ (w_now * (inside_now - inside))) / whole
        part = Part(segment=segment, value=value, reference_share=float(w), current_share=float(w_now), mix=mix, within=within)
        found.append(part)
    return found


def _asked(counts: np.ndarray, column: Cells, shift: Shift) -> np.ndarray:
    """The cells that the alarmed question is about: missing or not, novel or not, or all that is known."""
    known = counts[:, 1:]
    if shift.missing and shift.missing.alarm:
        return np.stack([counts[:, 0], known.sum(axis=1)], axis=1)
    if shift.novel and shift.novel.alarm:
        novel = known[:, : column.novel].sum(axis=1)
        return np.stack([novel, known.sum(axis=1) - novel], axis=1)
    return known
