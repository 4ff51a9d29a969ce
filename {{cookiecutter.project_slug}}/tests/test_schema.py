from collections.abc import Callable
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from pandera.errors import SchemaErrors

from {{ cookiecutter.package }} import data
from {{ cookiecutter.package }}.schema import Batch


@pytest.fixture(scope="module")
def month() -> pd.DataFrame:
    return data.load(datetime(2013, 6, 1), datetime(2013, 7, 1))


@pytest.mark.parametrize("number", range(1, 13))
def test_every_month_is_accepted(number: int) -> None:
    """The bounds hold for the real data, the whole year."""
    end = datetime(2013, number + 1, 1) if number < 12 else datetime(2014, 1, 1)

    Batch.validate(data.load(datetime(2013, number, 1), end), lazy=True)


def holes(column: "pd.Series[float]", share: float) -> "pd.Series[float]":
    """Lose a share of the values."""
    return column.mask(np.random.default_rng(0).random(len(column)) < share)


BROKEN: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "a tenth of a weather column is missing": lambda f: f.assign(temp=holes(f["temp"], 0.1)),
    "a tenth of the carriers is missing": lambda f: f.assign(carrier=holes(f["carrier"], 0.1)),
    "half of the labels are missing": lambda f: f.assign(**{data.LABEL: holes(f[data.LABEL], 0.5)}),
    "kilometres": lambda f: f.assign(distance=(f["distance"] * 1.609).astype("int64")),
    "nautical miles": lambda f: f.assign(distance=(f["distance"] * 0.869).astype("int64")),
    "kilometres for some": lambda f: f.assign(distance=f["distance"].where(f.index % 9 > 0, f["distance"] * 8 // 5)),
    "temperature in Celsius": lambda f: f.assign(temp=(f["temp"] - 32) / 1.8),
    "all temperatures in Celsius": lambda f: f.assign(temp=(f["temp"] - 32) / 1.8, dewp=(f["dewp"] - 32) / 1.8),
    "wind in metres a second": lambda f: f.assign(wind_speed=f["wind_speed"] * 0.447),
    "wind in kilometres an hour": lambda f: f.assign(wind_speed=f["wind_speed"] * 1.609),
    "rain in millimetres": lambda f: f.assign(precip=f["precip"] * 25.4),
    "pressure in inches": lambda f: f.assign(pressure=f["pressure"] * 0.02953),
    "visibility in kilometres": lambda f: f.assign(visib=f["visib"] * 1.609),
    "hours for minutes": lambda f: f.assign(planned_minutes=f["planned_minutes"] / 60),
    "an unknown airport of departure": lambda f: f.assign(origin=f["origin"].replace("LGA", "XXX")),
    "a flight to where it started": lambda f: f.assign(dest=f["dest"].where(f.index > 0, f["origin"])),
    "a column less": lambda f: f.drop(columns="dest"),
    "a column more": lambda f: f.assign(dep_delay=0.0),
    "text for a number": lambda f: f.assign(distance=f["distance"].astype(str)),
    "a day twice": lambda f: pd.concat([f, f.head(900)], ignore_index=True),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_month_is_refused(month: pd.DataFrame, fault: str) -> None:
    """What can go wrong upstream does not get through."""
    with pytest.raises(SchemaErrors):
        Batch.validate(BROKEN[fault](month), lazy=True)


def test_the_column_is_named(month: pd.DataFrame) -> None:
    """A refusal names the column, what is wrong with it, and each row."""
    broken = month.assign(temp=holes(month["temp"], 0.1))
    with pytest.raises(SchemaErrors) as refusal:
        Batch.validate(broken, lazy=True)
    cases = refusal.value.failure_cases

    assert set(cases["column"]) == {"temp"}
    assert set(cases["check"]) == {"more than 5 % missing"}
    assert len(cases) == broken["temp"].isna().sum()
