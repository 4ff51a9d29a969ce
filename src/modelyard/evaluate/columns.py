"""Raw columns of a table: which are texts, and the same column spoiled, in another type, or with noise. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: A text that no data hold.
UNSEEN = "never seen before"


def spaced(rows: int, wanted: int) -> np.ndarray:
    """Positions of ``wanted`` rows, evenly spaced; of all where there are fewer."""
    return np.unique(np.linspace(0, rows - 1, min(rows, wanted)).astype(int)) if rows else np.empty(0, dtype=int)


def is_text(column: pd.Series) -> bool:
    """Texts, whatever type holds them; not where all are missing."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return is_text(column.cat.categories.to_series())
    if not (column.dtype == object or pd.api.types.is_string_dtype(column.dtype)):
        return False
    known = column.dropna()
    return len(known) > 0 and all(isinstance(value, str) for value in known)


def noisy(column: pd.Series, share: float, random: np.random.Generator) -> pd.Series | None:
    """The column with normal noise of that share of its standard deviation; None where it holds no numbers, or does not vary.

    Whole numbers get whole noise: a code or a count has no hundredths.
    """
    import pandas as pd

    if not is_number(column) or not (spread := float(column.std())) > 0:
        return None
    added = random.normal(0, share * spread, len(column))
    if not pd.api.types.is_integer_dtype(column):
        return (column + added).astype(column.dtype)
    values = column.to_numpy(dtype=float, na_value=np.nan)
    if np.nanmax(np.abs(values)) > 2**53:  # no measurement, but an identifier that floats cannot hold
        return None
    whole = np.rint(values + added)
    if pd.api.types.is_unsigned_integer_dtype(column):
        whole = np.maximum(whole, 0)  # must not wrap around
    return pd.Series(whole, column.index).astype(column.dtype)


def is_number(column: pd.Series) -> bool:
    """Numbers, truth values not among them."""
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def retyped(rows: pd.DataFrame, columns: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """The same values in other types: what is changed in words, and the table."""
    import pandas as pd

    made = []
    kinds: dict[str, Callable[[pd.Series], bool]] = {
        "float32": lambda c: c.dtype == np.float64 and bool((c.abs().fillna(0) < 2**24).all()),  # beyond, whole numbers are lost
        "float64": lambda c: pd.api.types.is_integer_dtype(c) and isinstance(c.dtype, np.dtype),
        "int32": lambda c: c.dtype == np.int64 and len(c) > 0 and bool(c.between(-(2**31), 2**31 - 1).all()),
        "object": lambda c: is_text(c) and c.dtype != object,
        "category": lambda c: is_text(c) and not isinstance(c.dtype, pd.CategoricalDtype),
    }
    for kind, fits in kinds.items():
        if names := [name for name in columns if fits(rows[name])]:
            made.append((f"as {kind}", rows.astype(dict.fromkeys(names, kind))))
    return made


def missing(column: pd.Series) -> pd.Series:
    """The column as pandas holds it where nothing is known: NaT for times, NaN for numbers, None for all else."""
    import pandas as pd

    kind = column.dtype.kind if isinstance(column.dtype, np.dtype) else ""
    if kind in {"i", "u", "f"}:
        return pd.Series(np.nan, column.index, dtype=column.dtype if kind == "f" else np.float64)
    if kind in {"m", "M"}:
        return pd.Series(pd.NaT, column.index, dtype=column.dtype)
    if kind == "b":
        return pd.Series(None, column.index, dtype=object)
    return pd.Series(None, column.index, dtype=column.dtype)


def unseen(column: pd.Series) -> pd.Series:
    """The column with a text that no data hold, in each row."""
    import pandas as pd

    return pd.Series(UNSEEN, column.index, dtype="category" if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype)
