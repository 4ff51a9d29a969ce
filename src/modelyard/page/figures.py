"""How figures are said, alike in all summaries and on all pages. Plain text, not yet escaped; no I/O."""

from __future__ import annotations

import math
from datetime import datetime

NONE = "\u2013"


def known(value: float | None) -> float | None:
    """The value, or None where it is no finite number."""
    return value if value is not None and math.isfinite(value) else None


def fraction(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, 0 to 1; in the middle where they are equal. No value is too large."""
    width = high / 2 - low / 2
    return (value / 2 - low / 2) / width if width > 0 else 0.5


def number(value: float | None, *, signed: bool = False) -> str:
    """Four digits that matter, thousands apart."""
    if (value := known(value)) is None:
        return NONE
    sign = "+" if signed and value > 0 else ""
    if abs(value) >= 1e9 or 0 < abs(value) < 5e-5:
        return f"{sign}{value:.2e}"
    if abs(value) >= 1000:
        return f"{sign}{value:,.0f}"
    text = f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"
    return sign + ("0" if value == 0 else text)


def short(value: float | None) -> str:
    """Three digits, for axes and limits."""
    value = known(value)
    return number(value) if value is None or abs(value) >= 1000 else f"{value + 0.0:.3g}"


def percent(value: float | None) -> str:
    """A share in percent; what is not nothing is not shown as nothing."""
    if (value := known(value)) is None:
        return NONE
    if 0 < abs(value) < 0.0005:
        return "< 0.1 %" if value > 0 else "> -0.1 %"
    return f"{100 * value:.0f} %" if value in (0, 1) or abs(value) >= 10 else f"{100 * value:.1f} %"


def chance(value: float | None) -> str:
    """A p-value."""
    if (value := known(value)) is None:
        return NONE
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.4f}" if value < 0.1 else f"p = {value:.2f}"


def day(moment: datetime) -> str:
    """The date, with the time where it is not midnight."""
    return f"{moment:%Y-%m-%d}" if (moment.hour, moment.minute) == (0, 0) else f"{moment:%Y-%m-%d %H:%M}"


def interval(lower: float | None, upper: float | None, *, signed: bool = False) -> str:
    """``0.6812 to 0.7204``, or empty where it is not known."""
    if known(lower) is None or known(upper) is None:
        return ""
    return f"{number(lower, signed=signed)} to {number(upper, signed=signed)}"
