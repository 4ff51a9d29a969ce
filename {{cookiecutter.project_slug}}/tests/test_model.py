from typing import Any

import numpy as np
import pandas as pd
{%- if cookiecutter.task == "binary" %}
import pytest
{%- endif %}
from modelyard import export
{%- if cookiecutter.task == "binary" %}
from sklearn.metrics import log_loss, roc_auc_score
{%- elif cookiecutter.estimator == "neural" %}
from sklearn.metrics import root_mean_squared_error
{%- else %}
from sklearn.metrics import mean_absolute_error
{%- endif %}

from {{ cookiecutter.package }} import model, train
from {{ cookiecutter.package }}.data import LABEL
from {{ cookiecutter.package }}.features import INPUTS, features


def loss(pipeline: Any, frame: pd.DataFrame) -> float:
    """What training lowers."""
    rows = frame[frame[LABEL].notna()]
    inputs = pd.DataFrame(features(rows))
    {%- if cookiecutter.task == "binary" %}
    return float(log_loss(rows[LABEL], pipeline.predict_proba(inputs)[:, 1]))
    {%- elif cookiecutter.estimator == "neural" %}
    return float(root_mean_squared_error(rows[LABEL], pipeline.predict(inputs)))
    {%- else %}
    return float(mean_absolute_error(rows[LABEL], pipeline.predict(inputs)))
    {%- endif %}


def test_training_converges(sample: pd.DataFrame, params: dict[str, Any], pipeline: Any) -> None:
    """More iterations lower the loss on the training rows."""
    short = train.fit(sample, {**params, "iterations": 1})

    assert loss(pipeline, sample) < loss(short, sample)

{% if cookiecutter.task == "binary" %}
def test_it_learns(sample: pd.DataFrame, served: model.Model) -> None:
    """The model ranks its own training rows far better than chance."""
    rows = sample[sample[LABEL].notna()]

    assert roc_auc_score(rows[LABEL], served.predict(rows)) > 0.7


def test_shuffled_labels_teach_nothing(sample: pd.DataFrame, params: dict[str, Any]) -> None:
    """Without a relation there is no skill on later rows: nothing of the label leaks into the features."""
    rows = sample[sample[LABEL].notna()].reset_index(drop=True)
    half = len(rows) // 2
    shuffled = rows.assign(**{LABEL: rows[LABEL].sample(frac=1, random_state=0).to_numpy()})
    fitted = train.fit(shuffled[:half], params)
    predicted = fitted.predict_proba(pd.DataFrame(features(rows[half:])))[:, 1]

    assert roc_auc_score(rows[LABEL][half:], predicted) == pytest.approx(0.5, abs=0.12)
{% elif cookiecutter.estimator == "neural" %}
def test_it_learns(sample: pd.DataFrame, served: model.Model) -> None:
    """The model is closer to its own training rows than their mean is."""
    rows = sample[sample[LABEL].notna()]

    assert root_mean_squared_error(rows[LABEL], served.predict(rows)) < 0.97 * rows[LABEL].std()
{% else %}
def test_it_learns(sample: pd.DataFrame, served: model.Model) -> None:
    """The model is closer to its own training rows than their median is."""
    rows = sample[sample[LABEL].notna()]
    constant = (rows[LABEL] - rows[LABEL].median()).abs().mean()

    assert mean_absolute_error(rows[LABEL], served.predict(rows)) < 0.95 * constant
{% endif %}

def test_no_prediction_is_nan(sample: pd.DataFrame, served: model.Model) -> None:
    """One finite number a row, even where all weather is missing and the carrier is new."""
    blind = sample.head(50).assign(carrier="ZZ", temp=np.nan, dewp=np.nan, humid=np.nan, pressure=np.nan)
    predicted = served.predict(pd.concat([sample, blind]))

    assert predicted.shape == (len(sample) + 50,)
    assert np.isfinite(predicted).all()
    {%- if cookiecutter.task == "binary" %}
    assert 0 <= predicted.min() <= predicted.max() <= 1
    {%- endif %}


def test_no_rows_no_predictions(served: model.Model) -> None:
    """An empty batch gets an empty answer."""
    assert served.predict({name: [] for name in INPUTS}).shape == (0,)


def test_parity(sample: pd.DataFrame, pipeline: Any, served: model.Model) -> None:
    """What serves predicts what was trained, row by row."""
    inputs = pd.DataFrame(features(sample))
    {%- if cookiecutter.task == "binary" %}
    trained = pipeline.predict_proba(inputs)[:, 1]
    {%- else %}
    trained = pipeline.predict(inputs)
    {%- endif %}

    export.check_parity(trained, served.predict(sample))


def test_predictions_do_not_mix_rows(sample: pd.DataFrame, served: model.Model) -> None:
    """A flight alone gets the prediction that it gets in a batch."""
    batch = served.predict(sample.head(20))
    alone = [served.predict(sample.iloc[[i]])[0] for i in range(20)]

    np.testing.assert_allclose(batch, alone, atol=1e-5)


def test_training_twice_gives_the_same_bytes(sample: pd.DataFrame, params: dict[str, Any], pipeline: Any) -> None:
    """The model follows from data, code and parameters alone."""
    again = train.fit(sample, params)

    assert export.to_onnx(again, features(sample)) == export.to_onnx(pipeline, features(sample))


def test_the_provider_is_told(served: model.Model) -> None:
    """The model says what really computes."""
    assert served.provider in model.PROVIDERS
