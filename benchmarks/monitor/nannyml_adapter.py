"""Runs in NannyML's environment: one JSON line in, one out (see peers.py). Defaults: univariate drift, 10 chunks or ``chunk_size``.

A column is flagged where any chunk of the current table alerts. With ``quality``, its calculators of missing and unseen values too.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import nannyml
import pandas as pd
import pyarrow.dataset as ds


def table(path: str) -> pd.DataFrame:
    """Text as object: NannyML knows no other type of text."""
    frame = pd.read_parquet(path, columns=[name for name in ds.dataset(path).schema.names if name != "time"])
    words = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    return frame.astype(dict.fromkeys(words, object))


def alerts(result: Any, columns: list[str]) -> dict[str, bool]:
    """Which columns alert in any chunk of the current table."""
    frame = result.filter(period="analysis").to_df()
    return {name: bool(frame[[key for key in frame.columns if key[0] == name and key[-1] == "alert"]].any(axis=None)) for name in columns}


def main() -> None:
    for line in sys.stdin:
        question = json.loads(line)
        start = time.perf_counter()
        reference, current = table(question["reference"]), table(question["current"])
        names = list(reference.columns)
        words = [name for name in names if reference[name].dtype == object]
        chunks = {"chunk_size": question["chunk_size"]} if question.get("chunk_size") else {}
        drift = nannyml.UnivariateDriftCalculator(column_names=names, **chunks).fit(reference).calculate(current)
        if question.get("html"):
            drift.filter(period="all").plot(kind="drift").write_html(question["html"])
        found = {"drift": alerts(drift, names)}
        if question.get("quality"):
            gone = nannyml.MissingValuesCalculator(column_names=names, **chunks).fit(reference).calculate(current)
            new = nannyml.UnseenValuesCalculator(column_names=words, **chunks).fit(reference).calculate(current)
            found |= {"missing": alerts(gone, names), "unseen": alerts(new, words)}
        columns = {name: {key: found.get(key, {}).get(name) for key in ("drift", "missing", "unseen")} for name in names}
        print(json.dumps({"seconds": time.perf_counter() - start, "columns": columns}), flush=True)


if __name__ == "__main__":
    main()
