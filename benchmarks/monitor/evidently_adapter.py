"""Runs in evidently's environment: one JSON line in, one out (see peers.py). Defaults: DataDriftPreset.

With ``quality``, DataSummaryPreset as well, whose tests (missing values, least, largest, mean, deviation, quantiles) evidently
sets by the reference; a column that fails any of them counts as ``missing`` or, for the others, as ``unseen``.
"""

from __future__ import annotations

import json
import sys
import time

import pandas as pd
import pyarrow.dataset as ds
from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Snapshot
from evidently.presets import DataDriftPreset, DataSummaryPreset


def dataset(path: str) -> Dataset:
    frame = pd.read_parquet(path, columns=[name for name in ds.dataset(path).schema.names if name != "time"])
    numbers = list(frame.select_dtypes("number"))
    words = [name for name in frame if name not in numbers]
    return Dataset.from_pandas(frame, data_definition=DataDefinition(numerical_columns=numbers, categorical_columns=words))


def answers(found: Snapshot) -> dict[str, dict[str, bool | None]]:
    columns: dict[str, dict[str, bool | None]] = {}
    for test in found.dict()["tests"]:
        params = test["metric_config"]["params"]
        column = params.get("column")
        if not column:
            continue
        question = {"ValueDrift": "drift", "MissingValueCount": "missing"}.get(params["type"].rsplit(":", 1)[-1], "unseen")
        answer = columns.setdefault(column, {"drift": None, "missing": None, "unseen": None})
        answer[question] = bool(answer[question]) or test["status"].rsplit(".", 1)[-1] == "FAIL"
    return columns


def main() -> None:
    for line in sys.stdin:
        question = json.loads(line)
        start = time.perf_counter()
        reference, current = dataset(question["reference"]), dataset(question["current"])
        presets = [DataDriftPreset(), *([DataSummaryPreset()] if question.get("quality") else [])]
        found = Report(presets, include_tests=True).run(current, reference)
        if question.get("html"):
            found.save_html(question["html"])
        print(json.dumps({"seconds": time.perf_counter() - start, "columns": answers(found)}), flush=True)


if __name__ == "__main__":
    main()
