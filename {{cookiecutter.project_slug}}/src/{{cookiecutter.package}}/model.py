"""The model as it serves: ONNX Runtime and NumPy, nothing of what trained it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from {{ cookiecutter.package }}.features import Columns, features

{% if cookiecutter.estimator == "trees" -%}
PROVIDERS = ("CPUExecutionProvider",)  # ONNX Runtime computes trees nowhere else
{%- else -%}
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")  # the first that is there
{%- endif %}


@dataclass(frozen=True)
class Model:
    """A loaded model file."""

    session: Any

    @property
    def provider(self) -> str:
        """What really computes, for example CPUExecutionProvider."""
        return str(self.session.get_providers()[0])

    def predict(self, batch: Columns) -> np.ndarray:
        """Return one number a row: {% if cookiecutter.task == "binary" %}the probability of being late{% else %}the minutes late{% endif %}."""
        inputs = {name: values.reshape(-1, 1) for name, values in features(batch).items()}
        if not len(next(iter(inputs.values()))):
            return np.empty(0)
        # The last output: (n, 1) values, or (n, 2) probabilities of which the second belongs to the positive class.
        outputs = self.session.run(None, inputs)[-1]
        return np.asarray(outputs, dtype=np.float64).reshape(len(outputs), -1)[:, -1]


def load(path: Path | str) -> Model:
    """Open a model file."""
    import onnxruntime  # here, since whoever only supervises the service does without

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one request is small: more throughput comes from more workers
    options.inter_op_num_threads = 1
    there = onnxruntime.get_available_providers()  # naming an absent one would only warn
    providers = [name for name in PROVIDERS if name in there]
    {%- if cookiecutter.estimator == "neural" %}
    if "CUDAExecutionProvider" in providers:
        onnxruntime.preload_dlls()  # those that came as Python packages
    {%- endif %}
    return Model(onnxruntime.InferenceSession(str(path), options, providers=providers))
