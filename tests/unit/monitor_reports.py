"""Reports of checks, built by hand; `python -m unit.monitor_reports` in `tests/` writes the golden files anew."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from modelyard.monitor.report import (
    Answer,
    Calibration,
    Cell,
    Champion,
    Check,
    Decay,
    Estimate,
    Kind,
    Monitoring,
    Part,
    Performance,
    Point,
    Role,
    Shift,
    Strip,
)

GOLDEN = Path(__file__).parent / "golden" / "monitor"
NOW = datetime(2013, 7, 1, tzinfo=UTC)
WINDOW = (NOW - timedelta(days=28), NOW)
RELEASED = datetime(2013, 4, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
CHAMPION = Champion(sha256="5f" * 32, version="3", released=RELEASED, age_days=91.0)
HASHES = {"profile": "a1" * 32, "model": "5f" * 32, "data": "c3" * 32}
STARTS = (*(RELEASED - (26 - i) * WEEK for i in range(26)), *(WINDOW[0] + i * WEEK for i in range(4)))
HOSTILE = (
    "<script>alert(1)</script>",
    "a|b`c``d",
    "new\nline\t\u202ereversed",
    "@everyone https://evil.example/ #12",
    "*bold* _it_ [x](y) &lt;",
    "long " * 60,
    "",
)


def check(name: str, status: str, message: str) -> Check:
    return Check(name=name, status=status, message=message)  # type: ignore[arg-type]


CHECKS = (
    check("schema", "ok", "All rows fit the schema."),
    check("volume", "ok", "1,009 rows a day, 1.10 times the reference's 918."),
    check("freshness", "ok", "The newest row is of 2013-06-30 23:59."),
    check("duplicates", "ok", "0 % of the rows are repeated, in the reference 0 %."),
    check("missing", "ok", "Of 4 columns none misses more values than is usual."),
    check("novel", "ok", "Of 4 columns none holds values that are new."),
    check("drift", "ok", "No column's shape moved more than is usual."),
    check("performance", "ok", "roc_auc 0.7399 (95 %: 0.7211 to 0.7588) on 27,310 labelled rows of 28 days; at release 0.7421."),
    check("decay", "ok", "A fresh model of the same recipe gains +0.0012 (95 %: -0.0093 to +0.0117; limit 0.02): the live model holds."),
    check("age", "ok", "The live model is 91 days old of 180."),
    check("release", "ok", "Version 3 is recorded and live."),
)
LOST = check(
    "performance", "noted", "roc_auc 0.7012 (95 %: 0.6804 to 0.7211) on 27,310 labelled rows of 28 days; at release 0.7421, so worse."
)
UNSURE = check(
    "decay",
    "unknown",
    "A fresh model of the same recipe gains +0.0142 (95 %: -0.0031 to +0.0315; limit 0.02): the labels do not tell yet; "
    "a true gain of 0.0169 would show in 8 of 10 cases.",
)


def with_checks(*changed: Check) -> tuple[Check, ...]:
    by_name = {new.name: new for new in changed}
    return tuple(by_name.get(old.name, old) for old in CHECKS)


def blocks(scores: tuple[float, ...] | None = None) -> Calibration:
    """26 weeks of the reference, 4 current ones."""
    draw = random.Random(26)
    scores = scores or tuple(round(draw.uniform(0.8, 2.4), 3) for _ in range(30))
    return Calibration(
        rule="blocks",
        blocks=26,
        block_days=7.0,
        level=1 / 27,
        assumes="exchangeable blocks",
        scores=scores,
        limit=max(scores[:26]),
        starts=STARTS,
        moved=tuple(score > max(scores[:26]) for score in scores[26:]),
    )


CHANCE = Calibration(rule="chance", blocks=0, block_days=None, level=0.01, assumes="independent rows")
NOTHING = Calibration(rule="none", blocks=0, block_days=None, level=0.01, assumes="independent rows")


def wave(seed: int, level: float, spread: float, count: int) -> tuple[float, ...]:
    draw = random.Random(seed)
    return tuple(round(level + spread * (math.sin(i / 4 + seed) + draw.uniform(-1, 1)) / 2, 5) for i in range(count))


def bell(labels: list[str], shift: float) -> tuple[Cell, ...]:
    """Shares over cells with an order: the reference in the middle, the current ones moved by so many cells."""

    def shares(middle: float) -> list[float]:
        raw = [math.exp(-(((i - middle) / (len(labels) / 5)) ** 2) / 2) for i in range(len(labels))]
        return [value / sum(raw) for value in raw]

    old, new = shares(len(labels) / 2), shares(len(labels) / 2 + shift)
    return tuple(Cell(label=name, reference=round(a, 5), current=round(b, 5)) for name, a, b in zip(labels, old, new, strict=True))


def ranges(low: float, high: float, count: int = 20) -> list[str]:
    step = (high - low) / (count - 2)
    return [f"< {low:g}", *(f"{low + i * step:.4g} to {low + (i + 1) * step:.4g}" for i in range(count - 2)), f"> {high:g}"]


def quiet(
    column: str,
    role: Role = "feature",
    kind: Kind = "continuous",
    seed: int = 1,
    cells: tuple[Cell, ...] = (),
    importance: float | None = None,
) -> Shift:
    """A column in which nothing happens."""
    level, spread = 10.0 * seed, 2.0 + seed
    return Shift(
        column=column,
        role=role,
        kind=kind,
        shape=Answer(size=0.013 + seed / 1000),
        missing=Answer(size=0.0004, reference=0.0021, current=0.0025),
        novel=Answer(size=0.0, reference=0.0, current=0.0),
        psi=0.0041,
        js=0.0322,
        wasserstein=0.0241 if kind in ("continuous", "discrete") else None,
        importance=importance,
        scores=wave(seed + 40, 1.6, 0.8, 27),  # 26 weeks and the latest
        strip=Strip(measure="mean", reference=wave(seed, level, spread, 26), current=wave(seed + 1, level, spread / 2, 4))
        if kind != "categorical"
        else Strip(measure="top", reference=wave(seed, 0.35, 0.02, 26), current=wave(seed + 1, 0.35, 0.02, 4)),
        cells=cells or bell(ranges(0, 100), 0.2),
    )


PREDICTION = Shift(
    column="prediction",
    role="prediction",
    kind="continuous",
    shape=Answer(size=0.1243, alarm=True),
    missing=Answer(size=0.0, reference=0.0, current=0.0),
    novel=Answer(size=0.0, reference=0.0, current=0.0),
    psi=0.1731,
    js=0.1502,
    wasserstein=0.3122,
    scores=(*wave(3, 1.5, 0.6, 26), 4.12),
    strip=Strip(measure="mean", reference=wave(3, 0.22, 0.05, 26), current=(0.281, 0.305, 0.262, 0.322)),
    cells=bell(ranges(0.05, 0.95), 2.2),
    causes=(
        Part(segment="origin", value="JFK", reference_share=0.329, current_share=0.338, mix=0.03, within=0.59),
        Part(segment="origin", value="EWR", reference_share=0.357, current_share=0.291, mix=0.21, within=0.02),
        Part(segment="carrier", value="B6", reference_share=0.164, current_share=0.201, mix=0.11, within=0.09),
        Part(segment="carrier", value="HA", reference_share=0.001, current_share=0.001, mix=0.0, within=-0.04),
    ),
)
DELAY = Shift(
    column="dep_delay",
    role="feature",
    kind="continuous",
    shape=Answer(size=0.0894, alarm=True),
    missing=Answer(size=0.0031, reference=0.0291, current=0.0322),
    novel=Answer(size=0.0001, reference=0.0, current=0.0001),
    psi=0.0512,
    js=0.0813,
    wasserstein=0.1948,
    importance=0.213,
    scores=(*wave(4, 1.4, 0.7, 26), 3.3),
    strip=Strip(measure="mean", reference=(*wave(4, 12, 7, 20), None, *wave(5, 12, 7, 5)), current=(20.1, 21.7, 15.2, 25.3)),
    cells=bell(ranges(-20, 180), 1.3),
    causes=(Part(segment="origin", value="EWR", reference_share=0.357, current_share=0.291, mix=0.1, within=0.62),),
)
CARRIER = Shift(
    column="carrier",
    role="feature",
    kind="categorical",
    shape=Answer(size=0.021),
    missing=Answer(size=0.0, reference=0.0, current=0.0),
    novel=Answer(size=0.051, reference=0.0002, current=0.0512, alarm=True),
    psi=0.2211,
    js=0.1911,
    importance=0.102,
    scores=(*wave(6, 1.4, 0.7, 26), 1.3),
    strip=Strip(measure="novel", reference=(0.0,) * 26, current=(0.05, 0.049, 0.052, 0.0537)),
    cells=tuple(
        Cell(label=name, reference=a, current=b)
        for name, a, b in (
            *(("UA", 0.174, 0.171), ("B6", 0.162, 0.151), ("EV", 0.161, 0.149), ("DL", 0.142, 0.139), ("AA", 0.097, 0.094)),
            *(("MQ", 0.078, 0.071), ("US", 0.061, 0.058), ("9E", 0.055, 0.051), ("WN", 0.036, 0.035), ("VX", 0.015, 0.015)),
            *(("FL", 0.01, 0.009), ("AS", 0.002, 0.002), ("F9", 0.002, 0.002), ("YV", 0.002, 0.001), ("HA", 0.001, 0.0008)),
            *(("2 more", 0.0, 0.0), ("any other", 0.002, 0.0512)),
        )
    ),
)

FEATURES: tuple[tuple[str, Kind], ...] = (
    *(("hour", "discrete"), ("dest", "categorical"), ("distance", "discrete"), ("origin", "categorical"), ("month", "discrete")),
    *(("wind_speed", "continuous"), ("precip", "continuous"), ("visib", "discrete"), ("pressure", "continuous"), ("temp", "continuous")),
    *(("dewp", "continuous"), ("humid", "continuous"), ("tailnum", "categorical")),
)


def quiet_columns() -> tuple[Shift, ...]:
    named = {
        "dest": ["ORD", "ATL", "LAX", "BOS", "MCO", "CLT", "SFO", "FLL", "MIA", "DCA", "95 more"],
        "origin": ["EWR", "JFK", "LGA"],
        "hour": [str(hour) for hour in range(5, 24)],
    }
    return tuple(
        quiet(
            name,
            kind=kind,
            seed=i + 1,
            cells=bell(named[name], 0.05)
            if name in named
            else bell([f"N{i:03}{j}AA" for j in range(20)], 0.1)
            if kind == "categorical"
            else (),
            importance=round(0.09 / (i + 1), 4),
        )
        for i, (name, kind) in enumerate(FEATURES)
    )


def points(start: datetime, values: list[float]) -> tuple[Point, ...]:
    return tuple(
        Point(
            start=start + i * WEEK,
            end=start + (i + 1) * WEEK,
            value=value,
            lower=round(value - 0.031, 4),
            upper=round(value + 0.029, 4),
            rows=6100 + 37 * i,
        )
        for i, value in enumerate(values)
    )


PERFORMANCE = Performance(
    metric="roc_auc",
    more_is_better=True,
    value=0.7012,
    lower=0.6804,
    upper=0.7211,
    at_release=0.7421,
    rows=27310,
    days=28,
    points=points(WINDOW[0], [0.7121, 0.6904, 0.7011, 0.7012]),
    release_points=points(RELEASED - 3 * WEEK, [0.7391, 0.7502, 0.7371]),
)
DECAYED = Decay(found="yes", gain=0.0281, lower=0.0112, upper=0.0449, limit=0.02, days=28, rows=27310, detectable=0.0169)
HOLDS = Decay(found="no", gain=0.0012, lower=-0.0093, upper=0.0117, limit=0.02, days=28, rows=27310, detectable=0.0105)
ESTIMATE = Estimate(
    metric="roc_auc", value=0.7253, assumes="calibrated scores, and that labels depend on the features as they did", realised=0.7012
)


def healthy() -> Monitoring:
    return Monitoring(
        verdict="healthy",
        reason="No check fired.",
        reasons=(),
        name="flights",
        now=NOW,
        window=WINDOW,
        rows=28243,
        reference_rows=166158,
        champion=CHAMPION,
        checks=CHECKS,
        calibration=blocks(),
        columns=(quiet("prediction", role="prediction", seed=3, cells=bell(ranges(0.05, 0.95), 0.1)), *quiet_columns()[:3]),
        performance=replace(
            PERFORMANCE, value=0.7399, lower=0.7211, upper=0.7588, points=points(WINDOW[0], [0.7421, 0.7304, 0.7511, 0.736])
        ),
        decay=HOLDS,
        profile=HASHES,
    )


def moved() -> Calibration:
    scores = blocks().scores
    return blocks((*scores[:26], 3.1, 4.02, 2.2, 4.6))


def drifted() -> Monitoring:
    """Drift by blocks with causes."""
    moved_ = "Shapes moved in 3 of the last 4 weeks, the latest included: the prediction 12.4 %, dep_delay 8.9 %."
    return replace(
        healthy(),
        verdict="retrain",
        reason=f"A training is due (drift: {moved_[:-1]}).",
        reasons=(moved_,),
        checks=with_checks(check("drift", "retrain", moved_), UNSURE),
        calibration=moved(),
        columns=(PREDICTION, DELAY, *quiet_columns()[:3]),
        decay=replace(DECAYED, found="undetermined", gain=0.0142, lower=-0.0031, upper=0.0315),
    )


def broken() -> Monitoring:
    """Data that no retraining may see."""
    fired = (
        "Columns gone: air_time.",
        "82 rows a day, 0.09 times the reference's 918; 0.5 to 2 are allowed.",
        "Values never seen before: carrier < 0.1 % → 5.1 %.",
    )
    drift = "Shapes moved in 3 of the last 4 weeks, the latest included: carrier 6.1 %."
    return replace(
        healthy(),
        verdict="alert",
        reason=f"The data are broken (schema: {fired[0][:-1]}; also volume, novel), and the training that is due (drift) waits.",
        reasons=(*fired, drift),
        rows=2311,
        checks=with_checks(
            *(check(name, "alert", told) for name, told in zip(("schema", "volume", "novel"), fired, strict=True)),
            check("drift", "retrain", drift),
            check("performance", "unknown", "The metric is not known: 120 of 2,311 rows have a label."),
            check("decay", "unknown", "Whether the model has decayed is not known: labels are there for 3 days, and 7 are needed."),
        ),
        calibration=moved(),
        columns=(
            replace(CARRIER, shape=Answer(size=0.061, alarm=True)),
            Shift(
                column="air_time",
                role="feature",
                kind="continuous",
                shape=None,
                missing=Answer(size=0.971, reference=0.029, current=1.0, alarm=True),
                novel=None,
            ),
        ),
        performance=None,
        decay=None,
    )


def unknown() -> Monitoring:
    """Performance unknown while labels are missing; an estimate is there."""
    return replace(
        healthy(),
        reason="No check fired (not known: decay, performance).",
        checks=with_checks(
            check("performance", "unknown", "The metric is not known: 0 of 28,243 rows have a label."),
            check("decay", "unknown", "Whether the model has decayed is not known: there are no labels yet."),
        ),
        performance=None,
        decay=None,
        estimate=replace(ESTIMATE, realised=None),
    )


def decayed() -> Monitoring:
    told = "A fresh model of the same recipe gains +0.0281 (95 %: +0.0112 to +0.0449; limit 0.02): the live model has decayed."
    return replace(
        healthy(),
        verdict="retrain",
        reason=f"A training is due (decay: {told[:-1]}).",
        reasons=(told,),
        checks=with_checks(check("decay", "retrain", told), LOST),
        performance=PERFORMANCE,
        decay=DECAYED,
        estimate=ESTIMATE,
    )


def by_chance() -> Monitoring:
    """Bare, without time blocks, and without a champion."""
    told = "Shapes moved (assumes independent rows): origin 4.1 %, hour 8.1 %."
    origin = replace(quiet("origin", kind="categorical", seed=4, cells=bell(["EWR", "JFK", "LGA"], 0.2)), strip=None, scores=())
    hour = replace(quiet("hour", kind="discrete", seed=1), strip=None, scores=(), shape=Answer(size=0.0812, chance=3e-9, alarm=True))
    return Monitoring(
        verdict="alert",
        reason=f"A person should look (drift: {told[:-1]}).",
        reasons=(told,),
        name="reference.profile",
        now=None,
        window=None,
        rows=5000,
        reference_rows=50000,
        champion=None,
        checks=(
            check("schema", "ok", "All 4 columns are there, each of its kind."),
            check("volume", "unknown", "5,000 rows; without times it is not known over how many days."),
            check("drift", "alert", told),
        ),
        calibration=CHANCE,
        columns=(
            replace(origin, shape=Answer(size=0.0411, chance=0.00012, alarm=True)),
            hour,
            replace(quiet("dest", seed=2), strip=None, scores=(), shape=Answer(size=0.012, chance=0.61)),
            replace(quiet("temp", seed=5), strip=None, scores=(), shape=Answer(size=0.018, chance=0.034)),
        ),
        profile={"profile": "a1" * 32},
    )


def empty() -> Monitoring:
    """No rows at all."""
    return replace(
        healthy(),
        verdict="alert",
        reason="The data are broken (volume: There are no rows; also freshness).",
        reasons=("There are no rows.", "No new row has come."),
        rows=0,
        checks=(
            check("volume", "alert", "There are no rows."),
            check("freshness", "alert", "No new row has come."),
            check("drift", "unknown", "Not known: there is nothing to compare."),
            check("performance", "unknown", "The metric is not known: there are no rows."),
        ),
        calibration=NOTHING,
        columns=tuple(
            Shift(
                column=name,
                role="feature",
                kind=kind,
                shape=None,
                missing=None,
                novel=None,
                cells=tuple(replace(cell, current=0.0) for cell in bell(["a", "b"], 0)),
            )
            for name, kind in FEATURES[:2]
        ),
        performance=None,
        decay=None,
    )


def approval() -> Monitoring:
    return replace(decayed(), needs_approval=True, reason=f"{decayed().reason[:-1]}, and a person must start it.")


def hostile() -> Monitoring:
    """Names and values that mean something in Markdown or HTML, and figures that are none."""
    nan, inf = math.nan, math.inf
    odd = [
        Shift(
            column=name,
            role="feature",
            kind="categorical",
            shape=Answer(size=nan if i % 2 else 0.31, chance=nan if i == 1 else 1e-12, alarm=True),
            missing=Answer(size=nan, reference=nan, current=None),
            novel=Answer(size=0.2, alarm=i == 0),
            psi=inf,
            js=nan,
            importance=nan,
            scores=(nan, 1.0, inf, nan),
            strip=Strip(measure="top", reference=(nan, None, 0.2), current=(inf, None)),
            cells=(
                Cell(label=name, reference=0.4, current=0.1),
                Cell(label="]]>", reference=nan, current=0.2),
                Cell(label="", reference=0.0, current=0.0),
            ),
            causes=(Part(segment=name, value=name, reference_share=nan, current_share=0.2, mix=nan, within=0.1),),
        )
        for i, name in enumerate(HOSTILE)
    ]
    text = " ".join(HOSTILE[:5])
    return Monitoring(
        verdict="alert",
        reason=text,
        reasons=(text, *(f"{i}: {name}" for i, name in enumerate(HOSTILE * 2))),
        name=HOSTILE[0],
        now=NOW.replace(hour=5, minute=30),
        window=WINDOW,
        rows=10,
        reference_rows=0,
        champion=replace(CHAMPION, version=HOSTILE[1]),
        checks=(check("schema", "alert", text),),
        calibration=replace(blocks((nan, 1.0, inf, nan)), blocks=2, limit=nan, starts=(None,) * 4),
        columns=tuple(odd),
        performance=replace(PERFORMANCE, metric=HOSTILE[0], value=nan, lower=None, upper=None, at_release=None),
        decay=replace(DECAYED, gain=nan, lower=nan, upper=nan),
        estimate=replace(ESTIMATE, assumes=HOSTILE[0], value=nan),
        profile={HOSTILE[1]: HOSTILE[0]},
    )


def big() -> Monitoring:
    """As a project's check looks: 17 columns, 26 weeks and 4, three alarms, all figures."""
    label = quiet("delayed", role="label", kind="categorical", seed=7, cells=bell(["false", "true"], 0.1))
    told = "Shapes moved in 3 of the last 4 weeks, the latest included: the prediction 12.4 %, dep_delay 8.9 %, carrier 6.1 %."
    carrier = replace(
        CARRIER,
        shape=Answer(size=0.061, alarm=True),
        novel=Answer(size=0.051, reference=0.0002, current=0.0512),
        strip=Strip(measure="top", reference=wave(8, 0.174, 0.01, 26), current=(0.161, 0.158, 0.159, 0.155)),
    )
    return replace(
        drifted(),
        reason=f"A training is due (drift: {told[:-1]}).",
        reasons=(told,),
        checks=with_checks(check("drift", "retrain", told), LOST, UNSURE),
        columns=(PREDICTION, DELAY, carrier, *quiet_columns(), label),
        performance=PERFORMANCE,
        estimate=ESTIMATE,
    )


ALL = (healthy, drifted, broken, unknown, decayed, by_chance, empty, approval, hostile, big)


def refresh() -> None:
    """Write the golden files as this version renders them."""
    from modelyard.monitor import text

    GOLDEN.mkdir(parents=True, exist_ok=True)
    for make in ALL:
        (GOLDEN / f"{make.__name__}.md").write_text(text.summary(make()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    refresh()
