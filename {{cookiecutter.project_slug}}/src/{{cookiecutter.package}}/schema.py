"""What a batch must look like before anything is trained on it.

Types, ranges, categories, missing values, and how columns agree. Every bound holds in each month of the example with
room to spare; a change of units breaks at least one.
"""

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

CARRIERS = ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"]
ORIGINS = ["EWR", "JFK", "LGA"]
ENOUGH = 5000  # rows from which on the mean of a batch says something


def known(column: "pd.Series[float]", missing: float) -> "pd.Series[bool]":
    """Accept missing values up to the share `missing`; above it each of them fails."""
    empty = column.isna()
    return ~empty | (empty.mean() <= missing)


def humidity(temp: "pd.Series[float]", dewp: "pd.Series[float]") -> "pd.Series[float]":
    """Return the relative humidity in percent that temperature and dew point (Fahrenheit) imply: Magnus' formula."""
    t, d = (temp - 32) / 1.8, (dewp - 32) / 1.8
    exponent = 17.625 * d / (243.04 + d) - 17.625 * t / (243.04 + t)
    return 100 * exponent.map(np.exp)


class Batch(pa.DataFrameModel):
    """Flights of one period."""

    scheduled: Series[pa.DateTime]
    carrier: Series[str] = pa.Field(isin=CARRIERS)
    flight: Series[int] = pa.Field(ge=1, le=9999)
    origin: Series[str] = pa.Field(isin=ORIGINS)
    dest: Series[str] = pa.Field(str_matches=r"^[A-Z]{3}$")
    distance: Series[int] = pa.Field(ge=10, le=5200)  # miles
    planned_minutes: Series[float] = pa.Field(ge=30, le=780)
    temp: Series[float] = pa.Field(ge=-10, le=115, nullable=True)  # Fahrenheit
    dewp: Series[float] = pa.Field(ge=-30, le=90, nullable=True)  # Fahrenheit
    humid: Series[float] = pa.Field(ge=5, le=100, nullable=True)  # percent
    wind_speed: Series[float] = pa.Field(ge=0, le=80, nullable=True)  # miles an hour
    precip: Series[float] = pa.Field(ge=0, le=3, nullable=True)  # inches in the hour
    pressure: Series[float] = pa.Field(ge=960, le=1060, nullable=True)  # hectopascal
    visib: Series[float] = pa.Field(ge=0, le=10, nullable=True)  # miles
    {%- if cookiecutter.task == "binary" %}
    late: Series[float] = pa.Field(isin=[0, 1], nullable=True)
    {%- else %}
    minutes_late: Series[float] = pa.Field(ge=-180, le=2880, nullable=True)
    {%- endif %}

    class Config:
        """No other column, and no flight twice."""

        strict = True
        unique = ["scheduled", "carrier", "flight"]  # noqa: RUF012

    @pa.check("temp", "dewp", "humid", "wind_speed", "precip", "visib", ignore_na=False, error="more than 5 % missing")
    def _weather_is_known(cls, column: "pd.Series[float]") -> "pd.Series[bool]":
        return known(column, 0.05)

    @pa.check("pressure", ignore_na=False, error="more than 30 % missing")
    def _pressure_is_known(cls, column: "pd.Series[float]") -> "pd.Series[bool]":
        return known(column, 0.30)

    @pa.check("{{ cookiecutter.__label }}", ignore_na=False, error="more than 15 % missing")
    def _outcome_is_known(cls, column: "pd.Series[float]") -> "pd.Series[bool]":
        return known(column, 0.15)

    @pa.check("wind_speed", error="its mean is not 7 to 15 miles an hour (other units?)")
    def _wind_is_in_miles_an_hour(cls, column: "pd.Series[float]") -> bool:
        return len(column) < ENOUGH or 7 <= float(column.mean()) <= 15

    @pa.dataframe_check(error="origin equals dest")
    def _goes_somewhere(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        return frame["origin"] != frame["dest"]

    @pa.dataframe_check(error="dewp exceeds temp: one of them is not Fahrenheit")
    def _dew_point_below_temperature(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        return ~(frame["dewp"] > frame["temp"] + 0.1)

    @pa.dataframe_check(error="humid is not what temp and dewp imply (other units?)")
    def _humidity_agrees(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        gap = (humidity(frame["temp"], frame["dewp"]) - frame["humid"]).abs()
        # A reading between two hours is off now and then; a whole batch never is.
        return ~(gap > 35) & ~((gap > 4) & (gap.mean() > 1.5))

    @pa.dataframe_check(error="distance / planned_minutes is not the speed of an airliner (other units?)")
    def _speed_is_an_airliners(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        speed = frame["distance"] / frame["planned_minutes"] * 60
        return speed.between(8, 520) & (len(frame) < ENOUGH or 290 <= speed.median() <= 340)

    @pa.dataframe_check(error="distance differs between flights of one route")
    def _routes_have_one_length(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        usual = frame.groupby(["origin", "dest"])["distance"].transform("median")
        return (frame["distance"] - usual).abs() <= 2
