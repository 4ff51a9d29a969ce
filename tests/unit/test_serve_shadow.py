"""A challenger beside the champion: it answers its share, and stands in nobody's way."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from unit.answers import answer, lines, wait_for
from unit.test_serve_fallback import Model, load, models

from modelyard.release import sha256
from modelyard.serve.contract import Log
from modelyard.serve.log import PredictionLog, is_sampled
from modelyard.serve.shadow import MOST_WAITING, Shadow

X = {"x": [1.0, -2.0]}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLog]:
    made = PredictionLog(tmp_path / "log", Log(), 0)
    yield made
    made.close()


def test_it_answers_its_share_and_the_log_says_what(tmp_path: Path, log: PredictionLog) -> None:
    """The rows, the request and its time are the champion's; prediction, role, model and duration its own."""
    shadow = Shadow(models(tmp_path / "new", slope=3.0, version="8"), load, 0.3, log)
    given = [answer(i, columns=X, seconds=9.0, ids=["a", "b"]) for i in range(60)]
    for each in given:
        shadow.offer(each)
    shadow.close()
    log.close()

    found = lines(tmp_path / "log")
    assert [line["request_id"] for line in found] == [each.request_id for each in given if is_sampled(each.request_id, 0.3)]
    assert 5 < len(found) < 40
    assert {line["role"] for line in found} == {"shadow"}
    digest = sha256(tmp_path / "new/model.onnx")
    assert (found[0]["version"], found[0]["sha256"], found[0]["predictions"]) == ("8", digest, [3.0, -6.0])
    assert (found[0]["time"], found[0]["ids"], found[0]["columns"]) == ("2013-03-04T05:30:00Z", ["a", "b"], X)
    assert 0 <= found[0]["seconds"] < 9
    assert (shadow.answered, shadow.skipped, shadow.failed) == (len(found), 0, 0)


def test_a_shadow_that_lags_is_skipped_and_counted(tmp_path: Path, log: PredictionLog) -> None:
    """Nobody waits for it: what has no room is left out, what has is answered later."""
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Model):
        def predict(self, batch: Mapping[str, np.ndarray], /) -> np.ndarray:
            entered.set()
            go_on.wait(20)
            return super().predict(batch)

    shadow = Shadow(models(tmp_path / "new"), lambda _: Slow(1.0), 1.0, log)
    shadow.offer(answer(0, columns=X))
    assert entered.wait(20)
    for number in range(1, MOST_WAITING + 11):
        shadow.offer(answer(number, columns=X))
    skipped = shadow.skipped
    go_on.set()
    shadow.close()
    log.close()

    assert skipped == 10
    assert [line["request_id"] for line in lines(tmp_path / "log")] == [f"r{i}" for i in range(MOST_WAITING + 1)]


def test_a_shadow_that_hangs_does_not_hold_up_the_end(tmp_path: Path, log: PredictionLog) -> None:
    """What still waits then counts as skipped."""
    go_on = threading.Event()

    class Hanging(Model):
        def predict(self, batch: Mapping[str, np.ndarray], /) -> np.ndarray:
            go_on.wait(20)
            return super().predict(batch)

    shadow = Shadow(models(tmp_path / "new"), lambda _: Hanging(1.0), 1.0, log)
    shadow.offer(answer(columns=X))
    wait_for(lambda: shadow._waiting.empty())
    for number in range(MOST_WAITING):
        shadow.offer(answer(number, columns=X))
    shadow.close(seconds=0.05)
    shadow.offer(answer(columns=X))

    assert shadow.skipped == MOST_WAITING
    go_on.set()


def test_a_shadow_that_fails_is_counted_and_goes_on(tmp_path: Path, log: PredictionLog) -> None:
    """An error and a prediction that is no number; the words of the error, which may hold data, are not kept."""

    class Odd(Model):
        def predict(self, batch: Mapping[str, np.ndarray], /) -> np.ndarray:
            if batch["x"][0] == 0:
                raise KeyError("secret")
            return super().predict(batch)

    shadow = Shadow(models(tmp_path / "new"), lambda _: Odd(1.0), 1.0, log)
    for number, x in enumerate([0.0, np.nan, 1.0]):
        shadow.offer(answer(number, columns={"x": [x, 1.0]}))
    wait_for(lambda: shadow.answered)
    shadow.close()
    log.close()

    assert (shadow.answered, shadow.failed, shadow.problem) == (1, 2, "ValueError")
    assert [line["request_id"] for line in lines(tmp_path / "log")] == ["r2"]


def test_a_model_that_its_contract_does_not_name_is_refused(tmp_path: Path, log: PredictionLog) -> None:
    """As the champion itself would be."""
    folder = models(tmp_path / "new")
    (folder / "model.onnx").write_text('{"slope": 9}')

    with pytest.raises(ValueError, match=r"serving\.json names"):
        Shadow(folder, load, 1.0, log)
