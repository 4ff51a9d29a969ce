"""Fit the model on everything before the hold-out: the stage `train` of dvc.yaml."""

import json
{%- if cookiecutter.estimator == "neural" %}
import warnings
{%- endif %}
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import yaml
from modelyard import dataset, export, project
{%- if cookiecutter.estimator == "trees" %}
from sklearn.compose import make_column_transformer
{%- if cookiecutter.task == "binary" %}
from sklearn.ensemble import HistGradientBoostingClassifier
{%- else %}
from sklearn.ensemble import HistGradientBoostingRegressor
{%- endif %}
{%- else %}
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
{%- endif %}
{%- if cookiecutter.task == "binary" %}
from sklearn.metrics import log_loss, roc_auc_score
{%- else %}
from sklearn.metrics import mean_absolute_error, root_mean_squared_error
{%- endif %}
{%- if cookiecutter.estimator == "trees" %}
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder
{%- else %}
{%- if cookiecutter.task == "binary" %}
from sklearn.neural_network import MLPClassifier
{%- else %}
from sklearn.neural_network import MLPRegressor
{%- endif %}
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
{%- endif %}

from {{ cookiecutter.package }}.data import LABEL
from {{ cookiecutter.package }}.features import INPUTS, TEXTS, features


def build(params: Mapping[str, Any]) -> Pipeline:
    """Return the untrained pipeline: features in, {% if cookiecutter.task == "binary" %}probability{% else %}minutes{% endif %} out."""
    texts = list(TEXTS)
    {%- if cookiecutter.estimator == "trees" %}
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
    {%- if cookiecutter.task == "binary" %}
    estimator = HistGradientBoostingClassifier(
    {%- else %}
    estimator = HistGradientBoostingRegressor(
    {%- endif %}
        {%- if cookiecutter.task == "regression" %}
        loss="absolute_error",
        {%- endif %}
        max_iter=params["iterations"],
        learning_rate=params["learning_rate"],
        max_leaf_nodes=params["leaves"],
        min_samples_leaf=params["min_samples_leaf"],
        l2_regularization=params["l2"],
        early_stopping=False,
        random_state=params["seed"],
    )
    return make_pipeline(make_column_transformer((encoder, texts), remainder="passthrough"), estimator)
    {%- else %}
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    {%- if cookiecutter.task == "binary" %}
    estimator = MLPClassifier(
    {%- else %}
    estimator = MLPRegressor(
    {%- endif %}
        hidden_layer_sizes=params["hidden"],
        alpha=params["l2"],
        batch_size=params["batch_size"],
        learning_rate_init=params["learning_rate"],
        max_iter=params["iterations"],
        random_state=params["seed"],
    )
    return make_pipeline(make_column_transformer((encoder, texts), remainder=numbers), estimator)
    {%- endif %}


def fit(frame: pd.DataFrame, params: Mapping[str, Any]) -> Pipeline:
    """Train on the rows whose label is known."""
    rows = frame[frame[LABEL].notna()]
    {%- if cookiecutter.estimator == "neural" %}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few passes over the data are what params.yaml asks for
        return export.fit(build(params), features(rows), rows[LABEL].to_numpy())
    {%- else %}
    return export.fit(build(params), features(rows), rows[LABEL].to_numpy())
    {%- endif %}


def main() -> None:
    """Train, export, and write the metrics on the training rows."""
    here = project.find()
    params = yaml.safe_load((here.root / "params.yaml").read_text(encoding="utf-8"))["train"]
    frame = dataset.split(here).train
    frame = frame[frame[LABEL].notna()]
    predicted = export.save(here, fit(frame, params), frame, features(frame), INPUTS)
    {%- if cookiecutter.task == "binary" %}
    metrics = {
        "roc_auc": roc_auc_score(frame[LABEL], predicted),
        "log_loss": log_loss(frame[LABEL], predicted),
    }
    {%- else %}
    metrics = {
        "mae": mean_absolute_error(frame[LABEL], predicted),
        "rmse": root_mean_squared_error(frame[LABEL], predicted),
    }
    {%- endif %}
    report = {"rows": len(frame), **{name: round(float(value), 4) for name, value in metrics.items()}}
    here.report("train.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
