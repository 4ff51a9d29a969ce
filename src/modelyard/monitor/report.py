"""What ``reports/monitor.json`` holds, and its summary for people. No I/O."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from modelyard.monitor.compare import Check, Performance, Shift, Verdict


class Champion(BaseModel):
    """The model that is watched."""

    sha256: str
    version: str = Field(description="Version in the MLflow registry.")
    released: datetime = Field(description="Logical date of its release.")
    age_days: float


class Monitoring(BaseModel):
    """One look at the live model; it holds no clock but the logical date."""

    version: Literal[1] = 1
    verdict: Verdict
    reasons: list[str]
    now: datetime
    window: tuple[datetime, datetime] = Field(description="[start, end) of the event times.")
    rows: int
    champion: Champion
    checks: list[Check]
    prediction: Shift | None = Field(description="None where the window has no rows.")
    columns: dict[str, Shift]
    performance: Performance | None = Field(description="None where labels do not say it.")


def summary(found: Monitoring) -> str:
    """Markdown: the verdict first, the checks next, columns folded."""
    start, end = found.window
    what = f"{found.rows:,} rows, champion version {found.champion.version}"
    lines = [f"**monitor: {found.verdict}** on {start:%Y-%m-%d} to {end:%Y-%m-%d}, {what}", "", "| check | | |", "|---|---|---|"]
    for check in found.checks:
        status = f"**{check.status}**" if check.status in ("alert", "retrain") else check.status
        lines.append(f"| {check.name} | {status} | {check.message} |")
    if found.prediction:
        table = {"prediction": found.prediction, **dict(sorted(found.columns.items(), key=lambda item: -(item[1].distance or 0)))}
        lines += ["", f"<details><summary>Prediction and {len(found.columns)} columns</summary>", ""]
        lines += ["| column | distance | missing | in training |", "|---|---|---|---|"]
        lines += [f"| {name} | {_distance(s)} | {s.missing:.1%} | {s.missing_before:.1%} |" for name, s in table.items()]
        lines += ["", "</details>"]
    return "\n".join(lines)


def _distance(shift: Shift) -> str:
    if shift.distance is None:
        return "not compared"
    return f"**{shift.distance:.3f}**" if shift.drifted else f"{shift.distance:.3f}"
