"""Tables of other fields, run once after the rule was frozen: car loans (NannyML's own example) and shared bicycles (ISLP).

Loans: 43 weeks of reference and 43 later ones, into which NannyML's authors put drift; all tools judge each week. Bicycles: hourly
rentals of 2011, January to June and the weeks after; seasons move nearly all of their columns.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import blocks
import click
import flights
import ours
import output
import pandas as pd
import peers
import variants
from splits import split

ISLP = "ISLP==0.4.0"
SIZES = {"loans": (5_000, 5_000), "bikes": (1_000, 1_000)}
CHECKS = 2_000


def loans(cache: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reference and later rows of the synthetic car loans in NannyML's package: features, score and time."""
    where = "import importlib.util as i; print(i.find_spec('nannyml').submodule_search_locations[0])"
    package = subprocess.run([peers.environment("nannyml", cache), "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    frames = [pd.read_csv(Path(package, "datasets", "data", f"synthetic_car_loan_{part}.csv")) for part in ("reference", "analysis")]
    left_out = ["id", "repaid", "y_pred"]
    reference, later = (
        f.drop(columns=left_out, errors="ignore").rename(columns={"timestamp": "time"}).assign(time=lambda d: pd.to_datetime(d["time"]))
        for f in frames
    )
    return reference, later


def bikes(cache: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hourly rentals of 2011, January to June and July to December: weather, hour and numbers of riders."""
    target = flights.folder(cache) / "islp"
    if not target.exists():
        subprocess.run(["uv", "pip", "install", "-q", "--no-deps", "--target", target, ISLP], check=True)
    frame = pd.read_csv(target / "ISLP" / "data" / "Bikeshare.csv")
    frame["time"] = pd.Timestamp("2011-01-01") + pd.to_timedelta(frame["day"] - 1, unit="D") + pd.to_timedelta(frame["hr"], unit="h")
    frame = frame.drop(columns=["season", "mnth", "day"]).sort_values("time", ignore_index=True)
    early = frame["time"] < pd.Timestamp("2011-07-01")
    return frame[early].reset_index(drop=True), frame[~early].reset_index(drop=True)


def ours_on(name: str, reference: pd.DataFrame, later: pd.DataFrame) -> dict[str, Any]:
    """False alarms by chance and by blocks within the reference, and each later week."""
    plain = reference.drop(columns="time")
    pool = ours.Pool(plain)
    found = [ours.alarms(pool.check(*split(len(plain), *SIZES[name], number))) for number in range(CHECKS)]
    profile = ours.profiled(reference, "time")
    weeks = [{"week": f"{start:%Y-%m-%d}", "alarms": ours.alarms(ours.check(profile, week))} for start, week in blocks.weeks_of(later)]
    return {"chance": sum(map(bool, found)), "checks": CHECKS, "null": blocks.null(reference, 300), variants.OURS: weeks}


def peer_on(tool: str, cache: Path, reference: pd.DataFrame, later: pd.DataFrame) -> list[dict[str, Any]]:
    """Each later week by another tool; NannyML with chunks as large as the week. Text and truth alike as text."""
    found = []
    before = flights.write(reference.drop(columns="time"), cache / "field-reference.parquet")
    with peers.running(tool, cache) as peer:
        for start, week in blocks.weeks_of(later):
            now = flights.write(week.drop(columns="time"), cache / "field-current.parquet")
            answer = peer.check(before, now, chunk_size=len(week))
            alarms = {column: ["drift"] for column, asked in answer["columns"].items() if asked["drift"]}
            found.append({"week": f"{start:%Y-%m-%d}", "alarms": alarms})
    return found


def report(figures: dict[str, dict[str, Any]]) -> str:
    """A table for each data set."""
    text = ""
    for name, found in figures.items():
        size = ":".join(f"{n:,}" for n in SIZES[name])
        text += f"{name}: by chance, {size}: {output.share(found['chance'], found['checks'])} alarm; "
        text += f"shuffled days: {output.share(found['null']['alarmed'], found['null']['weeks'])} alarm.\n\n"
        tools = [tool for tool in (variants.OURS, *peers.TOOLS) if tool in found]
        weeks = [week["week"] for week in found[variants.OURS]]
        rows = [[week, *(", ".join(sorted(found[tool][i]["alarms"])) for tool in tools)] for i, week in enumerate(weeks)]
        text += output.table(["week from", *tools], rows)
        counted = ", ".join(f"{tool} {sum(bool(week['alarms']) for week in found[tool])}" for tool in tools)
        text += f"\nWeeks of {len(weeks)} that alarm: {counted}.\n\n"
    return text


@click.command(help=__doc__)
@flights.CACHE
@output.JSON
@click.option("--only-ours", is_flag=True, help="Leave the other tools out.")
def main(cache: Path, json_file: Path | None, only_ours: bool) -> None:
    if json_file and json_file.exists():
        sys.exit(f"{json_file} is there already: this is run once.")
    cache = flights.folder(cache)
    tables = {name: made(cache) for name, made in (("loans", loans), ("bikes", bikes))}
    figures = {}
    for name, (reference, later) in tables.items():
        figures[name] = ours_on(name, reference, later)
        output.write(json_file, {"field": figures})
        click.echo(f"{name}: {variants.OURS} done", err=True)
    for tool in () if only_ours else peers.TOOLS:
        for name, (reference, later) in tables.items():
            figures[name][tool] = peer_on(tool, cache, reference, later)
            output.write(json_file, {"field": figures})
            click.echo(f"{name}: {tool} done", err=True)
    click.echo(report(figures))


if __name__ == "__main__":
    main()
