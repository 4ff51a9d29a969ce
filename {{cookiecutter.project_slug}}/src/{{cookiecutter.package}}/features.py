"""What the model sees of a flight: the one place for training and serving. NumPy only, since the service imports it."""

from typing import Any, Protocol

import numpy as np

#: Raw columns that `features` reads; a request to the service holds exactly these.
TEXTS = ("carrier", "origin", "dest")
NUMBERS = ("distance", "planned_minutes", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
INPUTS = ("scheduled", *TEXTS, *NUMBERS)


class Columns(Protocol):
    """A DataFrame, or a mapping of column to values."""

    def __getitem__(self, key: str, /) -> Any: ...


def features(batch: Columns) -> dict[str, np.ndarray]:
    """Turn raw columns into the model's inputs, row by row.

    Numbers become float32 with NaN for missing, texts become strings.
    """
    scheduled = np.asarray(batch["scheduled"], dtype="datetime64[m]")
    minutes = (scheduled - scheduled.astype("datetime64[D]")).astype(np.int64)
    days = scheduled.astype("datetime64[D]").astype(np.int64)  # since 1970-01-01, a Thursday
    numbers = {name: np.asarray(batch[name], dtype=np.float32) for name in NUMBERS}
    return {
        **{name: np.asarray(batch[name], dtype=object) for name in TEXTS},
        **numbers,
        "hour": (minutes / 60).astype(np.float32),
        "weekday": ((days + 3) % 7).astype(np.float32),  # Monday is 0
        "speed": 60 * numbers["distance"] / numbers["planned_minutes"],  # low where the plan has slack
    }
