"""From a fitted scikit-learn pipeline to the file that serves: ONNX with the same bytes every time, checked on real rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from modelyard.errors import ModelyardError
from modelyard.project import EXAMPLES, MODEL, Project

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: ONNX version of the file: what it needs of ONNX Runtime must not move with the converter.
OPSET = 18
#: Rows kept in ``models/examples.json`` for the smoke test.
EXAMPLE_ROWS = 20
#: Rows on which both models must agree, and by how much, relative to the spread of the predictions.
PARITY_ROWS = 5000
TOLERANCE = 1e-4


class ParityError(ModelyardError):
    """The exported model does not predict what the trained one predicts."""


def fit(pipeline: Any, inputs: Mapping[str, np.ndarray], target: np.ndarray) -> Any:
    """Fit on named feature columns, with one thread.

    On a shared runner several threads wait for each other: training then takes three times as long, and sums may differ in the last bit.

    Parameters
    ----------
    inputs
        Feature -> values (n,); the columns of the DataFrame that ``pipeline`` is fitted on, in this order.
    target
        Labels (n,), none missing.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return pipeline.fit(_frame(inputs), target)


def save(project: Project, pipeline: Any, rows: pd.DataFrame, inputs: Mapping[str, np.ndarray], columns: Sequence[str]) -> np.ndarray:
    """Write ``models/model.onnx`` and ``models/examples.json``.

    Parameters
    ----------
    rows
        The raw rows that ``inputs`` were made of; examples and the parity check are taken from them, evenly spread.
    columns
        Raw columns that a request to the service holds.

    Returns
    -------
    ndarray
        What the ONNX model predicts for ``rows``: (n,).

    Raises
    ------
    ParityError
        The ONNX model disagrees with the pipeline.
    """
    content = to_onnx(pipeline, inputs)
    predicted = predict(content, inputs)
    sample = _spread(len(rows), PARITY_ROWS)
    check_parity(_original(pipeline, {name: values[sample] for name, values in inputs.items()}), predicted[sample])
    model, examples = project.root / MODEL, project.root / EXAMPLES
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(content)
    shown = _spread(len(rows), EXAMPLE_ROWS)
    versions = {name: metadata.version(name) for name in ("numpy", "onnxruntime", "scikit-learn")}
    record = {"rows": _requests(rows.iloc[shown][list(columns)]), "predictions": predicted[shown].tolist(), "versions": versions}
    examples.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return predicted


def to_onnx(pipeline: Any, inputs: Mapping[str, np.ndarray]) -> bytes:
    """Convert; the same pipeline gives the same bytes in every process.

    Each feature becomes an input (n, 1) of its own name: float32 for numbers, string for the others. The last output holds the
    probabilities (n, classes), or the predicted values (n, 1).
    """
    from skl2onnx import to_onnx as convert
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    types = [(name, (FloatTensorType if values.dtype.kind == "f" else StringTensorType)([None, 1])) for name, values in inputs.items()]
    options = {id(pipeline): {"zipmap": False}} if hasattr(pipeline, "classes_") else None
    model = convert(pipeline, initial_types=types, options=options, target_opset={"": OPSET, "ai.onnx.ml": 3})
    domains = sorted(model.opset_import, key=lambda entry: str(entry.domain))  # written in the order of a set otherwise
    del model.opset_import[:]
    model.opset_import.extend(domains)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def predict(content: bytes, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the ONNX model says: (n,) probabilities of the last class, or values."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    last = np.asarray(session.run(None, {name: values.reshape(-1, 1) for name, values in inputs.items()})[-1], dtype=np.float64)
    return last.reshape(len(last), -1)[:, -1]


def check_parity(expected: np.ndarray, actual: np.ndarray) -> float:
    """The largest difference, which must be under ``TOLERANCE`` times the range of ``expected`` (or of 1, where that is less).

    Raises
    ------
    ParityError
        It is not, or a prediction is not a number.
    """
    import numpy as np

    allowed = TOLERANCE * max(1.0, float(np.ptp(expected)))
    gap = np.abs(expected - actual)
    worst = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
    if not gap[worst] <= allowed:
        raise ParityError(
            f"The ONNX model differs from the trained one by up to {gap[worst]:.3g} (allowed: {allowed:.3g}); "
            f"row {worst}: {actual[worst]:.6g} instead of {expected[worst]:.6g}.",
            "Use estimators that skl2onnx converts exactly, and give them float32.",
        )
    return float(gap[worst])


def _original(pipeline: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    import numpy as np
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        frame = _frame(inputs)
        values = pipeline.predict_proba(frame)[:, -1] if hasattr(pipeline, "predict_proba") else pipeline.predict(frame)
    return np.asarray(values, dtype=np.float64)


def _frame(inputs: Mapping[str, np.ndarray]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(dict(inputs))


def _spread(rows: int, wanted: int) -> np.ndarray:
    import numpy as np

    return np.unique(np.linspace(0, rows - 1, min(rows, wanted)).astype(np.int64))


def _requests(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a client sends them: times without a zone in ISO 8601, missing values as null."""
    times = rows.select_dtypes("datetime")
    written = rows.assign(**{str(name): column.dt.strftime("%Y-%m-%dT%H:%M:%S") for name, column in times.items()})
    table: list[dict[str, Any]] = json.loads(written.to_json(orient="records", double_precision=15))
    return table
