"""Pieces of inline SVG: no script, no size of their own, colours by the page's CSS. Pure.

Charts are 340 units wide, so that their text is of ordinary size on a phone and on half of a page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import markupsafe
from markupsafe import Markup

from modelyard.page import figures, plain

WIDTH = 340
LEFT, RIGHT, TOP = 46, 334, 8  # of the room for marks; what is left of it holds the axis' figures
LETTER = 5.6  # width of a letter, about


def chart(height: int, label: str, body: str) -> Markup:
    """A chart, with a label for who cannot see it."""
    return Markup(f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{body}</svg>')  # noqa: S704 (all is escaped)


def spark(body: str) -> Markup:
    """A small picture in a line of text, which says the same."""
    return Markup(f'<svg class="spark" viewBox="0 0 90 20" aria-hidden="true">{body}</svg>')  # noqa: S704 (numbers only)


def small(width: int, height: int, body: str) -> Markup:
    """A picture in the cell of a table whose other cells say the same."""
    return Markup(f'<svg class="small" viewBox="0 0 {width} {height}" aria-hidden="true">{body}</svg>')  # noqa: S704 (numbers only)


def escape(said: str) -> Markup:
    """On one line, and without what HTML or the direction of writing would make of it."""
    return markupsafe.escape(plain.line(said))


def n(value: float) -> str:
    """A coordinate: a tenth of a unit is enough."""
    return f"{round(value, 1) + 0.0:g}"


def label(x: float, y: float, said: str, anchor: str = "", *, halo: bool = False) -> str:
    """Text; ``halo`` where it may lie over marks."""
    style = (f' text-anchor="{anchor}"' if anchor else "") + (' class="halo"' if halo else "")
    return f'<text x="{n(x)}" y="{n(y)}"{style}>{escape(said)}</text>'


def inside(x: float) -> str:
    """Anchor with which text at ``x`` stays on the chart."""
    return "" if x < WIDTH / 3 else "end" if x > 2 * WIDTH / 3 else "middle"


def cut(said: str, longest: int) -> str:
    """Not too long."""
    return said if len(said) <= longest else said[: longest - 1] + "…"


def path(kind: str, drawn: str, told: str = "") -> str:
    """A path of a class of the page's CSS; ``told`` is shown where a pointer rests on it."""
    if not drawn:
        return ""
    return f'<path class="{kind}" d="{drawn}"><title>{escape(told)}</title></path>' if told else f'<path class="{kind}" d="{drawn}"/>'


def bar(x: float, bottom: float, width: float, height: float) -> str:
    """Outline of a standing bar."""
    return f"M{n(x)} {n(bottom)}v{n(-height)}h{n(width)}v{n(height)}z"


def square(x: float, y: float, told: str, *, filled: bool) -> str:
    """The mark of a current block."""
    return path("sq full" if filled else "sq", f"M{n(x - 3)} {n(y - 3)}h6v6h-6z", told)


def whisker(x: float, top: float, bottom: float, kind: str = "whisker") -> str:
    """A standing interval."""
    return path(kind, f"M{n(x - 3)} {n(top)}h6m-3 0V{n(bottom)}m-3 0h6")


def axis(left: float, bottom: float, right: float = RIGHT) -> str:
    """A line to stand on."""
    return path("axis", f"M{n(left)} {n(bottom)}H{n(right)}")


def scale(low: float, high: float, bottom: float, top: float = TOP + 4) -> Callable[[float], float]:
    """From a value to its height on the page."""
    floor = bottom - 4 if low else bottom
    return lambda value: floor - (floor - top) * figures.fraction(value, low, high)


def places(count: int) -> list[float]:
    """The middles of so many blocks side by side."""
    step = (RIGHT - LEFT) / max(count, 1)
    return [LEFT + (i + 0.5) * step for i in range(count)]


def line(xs: Sequence[float], ys: Sequence[float | None], kind: str) -> str:
    """A line through the points, broken where one is not known."""
    return path(kind, "".join("M" + "L".join(run) for run in _runs(xs, ys) if len(run) > 1))


def dots(xs: Sequence[float], ys: Sequence[float | None], kind: str = "dots") -> str:
    """The points themselves."""
    return path(kind, "".join(f"M{point}h0" for run in _runs(xs, ys) for point in run))


def divide(old: int, xs: Sequence[float], bottom: float) -> str:
    """The line between the reference's blocks and the current ones."""
    return path("divide", f"M{n((xs[old - 1] + xs[old]) / 2)} {TOP}V{n(bottom)}") if 0 < old < len(xs) else ""


def _runs(xs: Sequence[float], ys: Sequence[float | None]) -> Iterable[list[str]]:
    """Points without gaps between them."""
    run: list[str] = []
    for x, y in zip(xs, ys, strict=True):
        if y is not None:
            run.append(f"{n(x)} {n(y)}")
        elif run:
            yield run
            run = []
    if run:
        yield run
