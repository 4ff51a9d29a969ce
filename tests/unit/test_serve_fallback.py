"""What answers when the model fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from modelyard.release import sha256
from modelyard.serve import contract, fallback
from modelyard.serve.contract import Contract, Fallback

ROWS = {"x": np.array([1.0, -2.0, 0.5])}


class Model:
    """Says a multiple of x."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def predict(self, batch: Mapping[str, np.ndarray], /) -> np.ndarray:
        found: np.ndarray = self.slope * batch["x"]
        return found


def load(path: Path) -> Model:
    return Model(json.loads(path.read_text())["slope"])


def contract_of(digest: str = "0" * 64, *, version: str = "8", **wanted: object) -> Contract:
    return Contract(
        name="mini",
        version=version,
        task="regression",
        sha256=digest,
        columns=[contract.Column(name="x", kind="number")],
        fallback=Fallback(**wanted),  # type: ignore[arg-type]
    )


def models(folder: Path, slope: float = 2.0, *, version: str = "7") -> Path:
    """A folder with a model and its contract."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / contract.MODEL
    path.write_text(json.dumps({"slope": slope}))
    (folder / contract.FILE).write_text(contract_of(sha256(path), version=version).model_dump_json())
    return folder


def test_nothing_falls_back_unless_the_policy_says_so(tmp_path: Path) -> None:
    """Also where the champion before is there."""
    models(tmp_path / "previous")

    assert fallback.make(contract_of(), load, tmp_path) is None


def test_a_constant_answers_each_row(tmp_path: Path) -> None:
    """It names no model, since none answered; zero is a constant too."""
    found = fallback.make(contract_of(by="constant", constant=0.0), load, tmp_path)

    assert found
    assert found(ROWS).tolist() == [0.0, 0.0, 0.0]
    assert (found.version, found.sha256) == ("", "")


def test_the_champion_before_answers(tmp_path: Path) -> None:
    """By its own file, and under its own name."""
    models(tmp_path / "previous")
    found = fallback.make(contract_of(by="previous"), load, tmp_path)

    assert found
    assert found(ROWS).tolist() == [2.0, -4.0, 1.0]
    assert (found.version, found.sha256) == ("7", sha256(tmp_path / "previous/model.onnx"))


def test_the_first_release_has_nothing_to_fall_back_to(tmp_path: Path) -> None:
    """That is no fault: there is no champion before it."""
    assert fallback.make(contract_of(by="previous"), load, tmp_path) is None


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "model.onnx").write_text('{"slope": 3}'), "and serving.json names"),
        (lambda folder: (folder / "model.onnx").unlink(), "No such file"),
        (lambda folder: (folder / "serving.json").write_text("{"), "damaged"),
    ],
)
def test_a_damaged_champion_before_is_refused_at_the_start(tmp_path: Path, spoil: object, told: str) -> None:
    """Not when the model has failed, which would be too late."""
    spoil(models(tmp_path / "previous"))  # type: ignore[operator]

    with pytest.raises(ValueError, match=told):
        fallback.make(contract_of(by="previous"), load, tmp_path)


def test_a_file_that_the_code_cannot_open_is_refused(tmp_path: Path) -> None:
    """By the name of the error: its words may hold anything."""

    def fails(path: Path) -> Model:
        raise KeyError("secret")

    models(tmp_path / "previous")

    with pytest.raises(ValueError, match=r"model\.onnx cannot be opened: KeyError\.$"):
        fallback.make(contract_of(by="previous"), fails, tmp_path)


def test_a_fallback_that_gives_no_numbers_does_not_answer(tmp_path: Path) -> None:
    """Then the request fails, as it would have without it."""
    models(tmp_path / "previous")
    found = fallback.make(contract_of(by="previous"), load, tmp_path)

    assert found
    with pytest.raises(ValueError, match="one finite number a row"):
        found({"x": np.array([np.nan])})
