"""Weeks as blocks: false alarms where no week differs from another by law, ordinary weeks, later weeks, and known faults in a week.

The null is made of days drawn at random from January to June, 26 reference weeks and one more: whatever moves from week to week
is then chance. Ordinary weeks are those of January to June, each set beside the others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import faults
import flights
import numpy as np
import ours
import output
import pandas as pd

WEEKS = 26
LIMIT = 0.07
POWER = 0.75
WEEK = pd.Timedelta(days=7)
EVENTS = {  # what is known of a day, for the names of the weeks; no tool sees it
    "2013-01-01": "New Year",
    "2013-02-08": "blizzard",
    "2013-02-18": "Presidents' Day",
    "2013-03-08": "snow",
    "2013-03-31": "Easter",
    "2013-04-21": "controllers' furlough",
    "2013-05-27": "Memorial Day",
    "2013-07-04": "Independence Day",
    "2013-09-02": "Labor Day",
    "2013-10-01": "government shutdown",
    "2013-11-28": "Thanksgiving",
    "2013-12-25": "Christmas",
}


def pseudo_weeks(frame: pd.DataFrame, number: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """26 weeks of days drawn with replacement, and one week more."""
    day = frame["time"].dt.normalize()
    groups = list(frame.groupby(day).indices.values())
    draws = np.random.default_rng([WEEKS, number])
    chosen = [groups[i] for i in draws.integers(0, len(groups), 7 * (WEEKS + 1))]
    rows = np.concatenate(chosen)
    place = np.repeat(np.arange(len(chosen)), [len(c) for c in chosen])
    moved = (frame["time"] - day).to_numpy()[rows] + np.datetime64("2013-01-01", "us") + place.astype("timedelta64[D]")
    drawn = frame.take(rows).assign(time=moved).reset_index(drop=True)
    split = int(np.searchsorted(place, 7 * WEEKS))
    return drawn.iloc[:split].reset_index(drop=True), drawn.iloc[split:].reset_index(drop=True)


def null(frame: pd.DataFrame, weeks: int) -> dict[str, Any]:
    """Checks of a week of shuffled days."""
    alarmed, ruled, columns = 0, 0, dict.fromkeys(frame, 0)
    for number in range(weeks):
        reference, current = pseudo_weeks(frame, number)
        alarms = ours.alarms(ours.check(ours.profiled(reference, "time"), current))
        alarmed += bool(alarms)
        ruled += bool(ours.ruled(alarms))
        for column in alarms:
            columns[column] += 1
    return {"weeks": weeks, "alarmed": alarmed, "by the rule alone": ruled, "columns": {column: n for column, n in columns.items() if n}}


def weeks_of(frame: pd.DataFrame) -> Iterator[tuple[pd.Timestamp, pd.DataFrame]]:
    """Whole weeks, counted backwards from the last day."""
    end = frame["time"].max().normalize() + pd.Timedelta(days=1)
    first = frame["time"].min().normalize()
    for number in range((end - first) // WEEK, 0, -1):
        start = end - number * WEEK
        yield start, frame[(frame["time"] >= start) & (frame["time"] < start + WEEK)].reset_index(drop=True)


def without(frame: pd.DataFrame, start: pd.Timestamp) -> pd.DataFrame:
    """Leave a week out, and move what was before it forward, so that no gap remains."""
    before = frame["time"] < start
    rest = frame[before | (frame["time"] >= start + WEEK)]
    return rest.assign(time=rest["time"].where(~before, rest["time"] + WEEK)).reset_index(drop=True)


def named(start: pd.Timestamp, week: pd.DataFrame, alarms: dict[str, list[str]]) -> dict[str, Any]:
    """A line on a week."""
    events = [name for day, name in EVENTS.items() if start <= pd.Timestamp(day) < start + WEEK]
    return {
        "week": f"{start:%d %b}",
        "known": ", ".join(events),
        "cancelled": float(week["dep_time"].isna().mean()),
        "delay": float(week["dep_delay"].mean()),
        "alarms": {column: list(questions) for column, questions in alarms.items()},
    }


def outside(frame: pd.DataFrame) -> dict[str, bool]:
    """Whether a fault moves its plain statistic, in the median week, out of the ordinary weeks' range; no tool is asked."""
    weeks = [week for _, week in weeks_of(frame)]
    found = {}
    for fault in faults.FAULTS:
        ordinary = [fault.statistic(week[fault.column]) for week in weeks]
        spoiled = statistics.median(fault.statistic(fault(week, i)[fault.column]) for i, week in enumerate(weeks))
        found[fault.name] = not fault.control and not min(ordinary) <= spoiled <= max(ordinary)
    return found


def ordinary(frame: pd.DataFrame) -> tuple[list[dict[str, Any]], dict[str, float], dict[str, float]]:
    """Each week of the frame beside the others: as it is, and with each fault (alarms on the fault's column count), in all and by rule."""
    lines, hits, ruled = [], dict.fromkeys(faults.BY_NAME, 0), dict.fromkeys(faults.BY_NAME, 0)
    for number, (start, week) in enumerate(weeks_of(frame)):
        reference = ours.profiled(without(frame, start), "time")
        lines.append(named(start, week, ours.alarms(ours.check(reference, week))))
        for fault in faults.FAULTS:
            alarms = ours.alarms(ours.check(reference, fault(week, number)))
            hits[fault.name] += fault.column in alarms
            ruled[fault.name] += fault.column in ours.ruled(alarms)
    return lines, {name: n / len(lines) for name, n in hits.items()}, {name: n / len(lines) for name, n in ruled.items()}


def later(frame: pd.DataFrame, after: pd.DataFrame) -> list[dict[str, Any]]:
    """The weeks of ``after``, each beside the profile of ``frame``, which stays as it is."""
    reference = ours.profiled(frame, "time")
    return [named(start, week, ours.alarms(ours.check(reference, week))) for start, week in weeks_of(after)]


def _weeks(title: str, lines: list[dict[str, Any]]) -> str:
    alarmed = [line for line in lines if line["alarms"]]
    rows = [
        [line["week"], line["known"], f"{line['cancelled']:.1%}", f"{line['delay']:.0f} min", _told(line["alarms"])] for line in alarmed
    ]
    text = f"\n{title}: {len(alarmed)} of {len(lines)} weeks alarm.\n\n"
    return text + (output.table(["week from", "known of it", "cancelled", "mean delay", "alarms"], rows) if rows else "")


def _told(alarms: dict[str, list[str]]) -> str:
    return ", ".join(f"{column} ({', '.join(questions)})" for column, questions in sorted(alarms.items()))


def report(figures: dict[str, Any]) -> str:
    """The tables."""
    text = ""
    if "null" in figures:
        found = figures["null"]
        counts = {"by the rule alone": found["by the rule alone"], f"with the limit ({ours.LIMIT})": found["alarmed"]}
        text += f"Shuffled days, {WEEKS} reference weeks; the rule cannot alarm in fewer than {1 / (WEEKS + 1):.1%}.\n\n"
        rows = [[way, output.share(n, found["weeks"]), "reached" if n <= LIMIT * found["weeks"] else "MISSED"] for way, n in counts.items()]
        text += output.table(["", "weeks that alarm", f"target: at most {LIMIT:.0%}"], rows) + f"\nColumns: {found['columns']}.\n"
    if "ordinary" in figures:
        text += _weeks("January to June, each week beside the others", figures["ordinary"])
        power, ruled, out = figures["power"], figures["power by the rule alone"], figures["outside"]
        rows = [[name, "yes" if out[name] else "", ruled[name], power[name]] for name in faults.BY_NAME]
        header = ["fault in a week", "outside the ordinary weeks' range", "found by the rule alone", "with the limit"]
        text += "\n" + output.table(header, rows)
        for label, kept in [("outside", True), ("inside", False)]:
            chosen = [fault.name for fault in faults.FAULTS if out[fault.name] is kept and not fault.control]
            alone, both = (statistics.mean(found[name] for name in chosen) for found in (ruled, power))
            text += f"\nMean of the {len(chosen)} faults {label} the range: {alone:.2f} by the rule alone, {both:.2f} with the limit."
            if kept:
                verdict = "reached" if alone >= POWER else "MISSED"
        text += f"\n\nTarget: at least {POWER} outside the range: {verdict}.\n"
    if "later" in figures:
        text += _weeks("July to December, beside the profile of January to June", figures["later"])
    return text


@click.command(help=__doc__)
@output.JSON
@click.option("--weeks", default=300, show_default=True, help="Of shuffled days.")
@click.option("--frozen", is_flag=True, help="Only July to December; for when the rule is frozen.")
def main(json_file: Path | None, weeks: int, frozen: bool) -> None:
    frame = flights.months(1, 6)
    figures = output.read(json_file).get("blocks", {})
    start = time.perf_counter()
    if frozen:
        figures["later"] = later(frame, flights.months(7, 12))
    else:
        figures["outside"] = outside(frame)
        figures["ordinary"], figures["power"], figures["power by the rule alone"] = ordinary(frame)
        click.echo(f"Ordinary weeks: {time.perf_counter() - start:.0f} s", err=True)
        figures["null"] = null(frame, weeks)
    click.echo(f"{time.perf_counter() - start:.0f} s", err=True)
    output.write(json_file, {"blocks": figures})
    click.echo(report(figures))


if __name__ == "__main__":
    main()
