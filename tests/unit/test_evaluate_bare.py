"""An evaluation without a project: predictions and labels from files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from sklearn.metrics import accuracy_score, f1_score, log_loss

from modelyard import cli, evaluate
from modelyard.outcome import Outcome

DAYS, EACH = 30, 80


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with labels, good and bad predictions of the same rows."""
    draw = np.random.default_rng(7)
    n = DAYS * EACH
    day = np.repeat(np.arange(DAYS), EACH)
    logit = draw.normal(size=n) * 1.5 + draw.normal(size=DAYS)[day] * 0.5
    good = 1 / (1 + np.exp(-logit))
    ids = [f"r{i}" for i in range(n)]
    time = pd.Timestamp("2024-03-01") + pd.to_timedelta(day, "D")
    label = (draw.uniform(size=n) < good).astype(int)
    truth = pd.DataFrame({"id": ids, "label": label, "time": time, "shop": np.where(np.arange(n) % 3 == 0, "a", "b")})
    truth.to_parquet(tmp_path / "labels.parquet")
    mixed = draw.permutation(n)  # rows stand in another order
    pd.DataFrame({"id": ids, "prediction": good}).iloc[mixed].to_parquet(tmp_path / "good.parquet")
    pd.DataFrame({"id": ids, "prediction": np.clip(good + draw.normal(0, 0.4, n), 0, 1)}).to_csv(tmp_path / "bad.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    """Call the verb; its outcome is the result's return value."""
    given = ("--task", "binary", "--labels", "labels.parquet", *arguments)
    return CliRunner().invoke(evaluate.command, given, standalone_mode=False)


def verdict(*arguments: str) -> tuple[str, list[str]]:
    found = run(*arguments, "--json", "out.json")
    assert isinstance(found.return_value, Outcome), found.exception
    report = json.loads(Path("out.json").read_text())
    assert found.return_value.verdict == report["verdict"]
    return report["verdict"], report["reasons"]


def test_the_better_model_is_promoted_and_the_worse_is_not(files: Path) -> None:
    """Files are joined by id, whatever their order and format; the report names rows, days and both files."""
    assert verdict("--challenger", "good.parquet", "--champion", "bad.csv")[0] == "promote"
    report = json.loads((files / "out.json").read_text())
    assert (report["inputs"]["labelled"], report["inputs"]["days"], report["risk"]) == (DAYS * EACH, DAYS, None)
    assert report["holdout"] == ["2024-03-01T00:00:00", "2024-03-31T00:00:00"]

    found, reasons = verdict("--challenger", "bad.csv", "--champion", "good.parquet")
    assert found == "keep"
    assert "would show in 8 of 10 cases on 30 days." in reasons[0]


def test_criteria_threshold_and_costs_are_options(files: Path) -> None:
    """A criterion that is missed blocks with its figure; the cost is that of the given threshold and costs."""
    both = ("--challenger", "good.parquet", "--champion", "bad.csv")
    found, reasons = verdict(*both, "--criterion", "roc_auc>=0.99", "--criterion", "brier <= 0.25")
    assert found == "block"
    assert "the policy demands at least 0.99" in reasons[0]

    verdict(*both, "--threshold", "0.3", "--costs", "2", "5")
    told = json.loads((files / "out.json").read_text())["challenger"]["metrics"]["cost"]
    rows = pd.read_parquet("labels.parquet").merge(pd.read_parquet("good.parquet"))
    called = rows["prediction"] >= 0.3
    assert told == pytest.approx((2 * (called & (rows["label"] == 0)) + 5 * (~called & (rows["label"] == 1))).mean())


def test_rows_count_by_their_weight(files: Path) -> None:
    """A row of weight 0 is as if it were not there; what is no weight is refused."""
    labels = pd.read_parquet("labels.parquet")
    half = np.arange(len(labels)) % 2 == 0
    both = ("--challenger", "good.parquet", "--champion", "bad.csv", "--segment", "shop", "--protected", "shop")
    labels[half].to_parquet("labels.parquet")
    verdict(*both)
    fewer = json.loads((files / "out.json").read_text())
    labels.assign(importance=half.astype(float)).to_parquet("labels.parquet")
    verdict(*both, "--weight", "importance")
    weighted = json.loads((files / "out.json").read_text())

    values = [told["challenger"]["metrics"] for told in (weighted, fewer)]
    for told in values:
        del told["calibration_error"]  # its bins are of equally many rows, whatever their weight
    assert values[0] == pytest.approx(values[1])
    assert weighted["comparison"]["lower"] == pytest.approx(fewer["comparison"]["lower"])
    improved = [[s["improvement"] for s in told["segments"]["judged"]] for told in (weighted, fewer)]
    assert improved[0] == pytest.approx(improved[1])
    assert weighted["fairness"]["attributes"][0]["groups"][0]["selection_rate"] == pytest.approx(
        fewer["fairness"]["attributes"][0]["groups"][0]["selection_rate"]
    )
    assert weighted["inputs"]["weight"] == "importance"
    for bad in (-1.0, np.nan, 0.0):
        labels.assign(importance=bad).to_parquet("labels.parquet")
        assert "column 'importance' holds a weight that is negative or missing, or none above 0" in str(
            run(*both, "--weight", "importance").exception
        )


def test_classes_are_judged_by_their_probabilities(files: Path, tmp_path: Path) -> None:
    """Three classes in words: log loss decides, accuracy and macro F1 are those of scikit-learn, segments are judged."""
    draw = np.random.default_rng(3)
    n = DAYS * EACH
    good, bad = draw.dirichlet([0.5] * 3, n), draw.dirichlet([0.5] * 3, n)
    names = np.array(["cat", "dog", "emu"])
    label = names[[draw.choice(3, p=row) for row in good]]
    pd.read_parquet("labels.parquet").assign(label=label).to_parquet("labels.parquet")
    for name, table in (("new", good), ("old", 0.5 * good + 0.5 * bad)):
        pd.DataFrame(table, columns=[f"prediction_{c}" for c in names]).assign(id=[f"r{i}" for i in range(n)]).to_parquet(f"{name}.parquet")
    three = ("--task", "multiclass", "--challenger", "new.parquet", "--segment", "shop")

    assert verdict(*three, "--champion", "old.parquet", "--html", "out.html")[0] == "promote"
    told = json.loads((files / "out.json").read_text())
    assert told["challenger"]["metrics"] == pytest.approx(
        {
            "log_loss": log_loss(label, good, labels=names),
            "accuracy": accuracy_score(label, names[good.argmax(axis=1)]),
            "macro_f1": f1_score(label, names[good.argmax(axis=1)], average="macro"),
        }
    )
    assert [segment["value"] for segment in told["segments"]["judged"]] == ["b", "a"]
    assert "log_loss" in (files / "out.html").read_text()
    assert verdict(*three)[0] == "promote"  # against the shares of the classes
    assert verdict(*three, "--champion", "old.parquet", "--protected", "shop")[0] == "block"  # cannot be judged, never passed
    pd.read_parquet("labels.parquet").replace({"label": {"emu": "ewe"}}).to_parquet("labels.parquet")
    assert "the label 'ewe' is none of the predicted classes cat, dog, emu" in str(run(*three).exception)
    pd.read_parquet("old.parquet").assign(prediction_emu=0.9).to_parquet("new.parquet")
    assert "the probabilities of a row sum to another number than 1" in str(run(*three).exception)


def test_segments_are_judged(files: Path) -> None:
    """One shop's predictions made worse block, with its name, although the whole is better."""
    labels, good = pd.read_parquet("labels.parquet"), pd.read_parquet("good.parquet")
    champion = pd.read_csv("bad.csv").set_index("id")["prediction"]
    in_a = labels.set_index("id")["shop"].eq("a")
    worse = good.set_index("id")["prediction"].where(~in_a, np.random.default_rng(1).uniform(size=len(good)))
    worse.rename("prediction").reset_index().to_parquet("mixed.parquet")
    champion.rename("prediction").reset_index().to_parquet("champion.parquet")

    found, reasons = verdict("--challenger", "mixed.parquet", "--champion", "champion.parquet", "--segment", "shop")

    assert found == "block"
    assert any("shop = a" in reason for reason in reasons)


def test_the_first_model_must_beat_a_constant(files: Path) -> None:
    """Without a champion."""
    assert verdict("--challenger", "good.parquet")[0] == "promote"
    pd.read_parquet("good.parquet").assign(prediction=0.5).to_parquet("flat.parquet")

    assert verdict("--challenger", "flat.parquet")[0] == "block"


def test_independent_rows_need_no_time_and_the_verdict_says_so(files: Path) -> None:
    """The assumption is the caller's, and stands in the reasons."""
    pd.read_parquet("labels.parquet").drop(columns="time").to_parquet("labels.parquet")
    failed = run("--challenger", "good.parquet")
    assert "has no column 'time'" in str(failed.exception)

    found, reasons = verdict("--challenger", "good.parquet", "--champion", "bad.csv", "--independent-rows")

    assert found == "promote"
    assert reasons[-1].startswith("This assumes independent rows")


def test_rows_without_a_prediction_block(files: Path) -> None:
    """Models that are not asked the same rows are not compared."""
    pd.read_csv("bad.csv").iloc[3:].to_csv("bad.csv", index=False)

    found, reasons = verdict("--challenger", "good.parquet", "--champion", "bad.csv")

    assert found == "block"
    assert reasons[0] == "3 of 2,400 labelled rows have no prediction of the champion."


def test_labels_that_are_not_known_yet_are_left_out(files: Path) -> None:
    """And counted; where none is left, or of one class only, that blocks."""
    labels = pd.read_parquet("labels.parquet").astype({"label": float})
    labels.assign(label=labels["label"].where(labels["time"] < "2024-03-20")).to_parquet("labels.parquet")
    assert verdict("--challenger", "good.parquet", "--champion", "bad.csv")[0] == "promote"
    assert json.loads(Path("out.json").read_text())["inputs"]["days"] == 19

    for label in (np.nan, 1.0):
        labels.assign(label=label).to_parquet("labels.parquet")
        assert verdict("--challenger", "good.parquet", "--champion", "bad.csv")[0] == "block"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: f.assign(prediction=f["prediction"] * 2), "holds predictions outside of 0 to 1"),
        (lambda f: f.assign(prediction="high"), "column 'prediction' holds something that is no number"),
        (lambda f: f.assign(id="r1"), "the id 'r1' stands more than once"),
        (lambda f: f.rename(columns={"prediction": "score"}), "has no column 'prediction'; it has id, score"),
        (lambda f: f.assign(prediction=np.inf), "outside of 0 to 1|infinite"),
    ],
)
def test_predictions_that_cannot_be_used_are_named(files: Path, change: object, told: str) -> None:
    """With what is wrong; never a traceback."""
    change(pd.read_parquet("good.parquet")).to_parquet("good.parquet")  # type: ignore[operator]

    found = run("--challenger", "good.parquet", "--champion", "bad.csv")

    assert found.exception
    assert any(part in str(found.exception) for part in told.split("|"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--challenger", "missing.parquet"), "missing.parquet does not exist"),
        (("--challenger", "good.parquet", "--metric", "auc"), "'auc' is no metric of a binary task"),
        (("--challenger", "good.parquet", "--rule", "non-inferior"), "needs a margin"),
        (("--challenger", "good.parquet", "--segment", "colour"), "has no column 'colour'"),
        ((), "needs --task, --challenger and --labels"),
    ],
)
def test_bad_usage_is_named(files: Path, arguments: tuple[str, ...], told: str) -> None:
    """With the word that is wrong, and what there is."""
    assert told in str(run(*arguments).exception)


def test_damaged_files_are_named(files: Path) -> None:
    """A Parquet file cut off."""
    Path("good.parquet").write_bytes(Path("good.parquet").read_bytes()[:300])

    assert "good.parquet cannot be read" in str(run("--challenger", "good.parquet").exception)


def test_the_command_is_there() -> None:
    """As ``modelyard evaluate``."""
    assert cli.modelyard.get_command(None, "evaluate") is not None  # type: ignore[arg-type]
