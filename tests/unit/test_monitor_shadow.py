"""Fresh models beside the live one: trained in a scratch copy that nobody keeps."""

from __future__ import annotations

import os
import tempfile
import textwrap
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from unit import mini_project

from modelyard import champion, dataset, git, store
from modelyard.champion import Champion
from modelyard.errors import ShadowError
from modelyard.monitor import shadow
from modelyard.predictions import of_champion
from modelyard.project import MODEL, Project

START, END = datetime(2013, 3, 1), datetime(2013, 3, 29)

#: Tells what it was given: the model's slope is the number of rows, its noise the number of days, both to be read from predictions.
TELLS = """
import json
from pathlib import Path
from modelyard import dataset, project

rows = dataset.split(project.find()).train
days = (rows["time"].max() - rows["time"].min()).days + 1
Path("models/model.onnx").write_text(json.dumps({"slope": len(rows) / 1e6, "noise": days / 1e3}))
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that scratch copies are made in."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def live(tmp_path: Path) -> Champion:
    """Return a champion that was trained on January, of a commit whose stage ``train`` runs the recipe."""
    project = mini_project.yard(tmp_path, monitor={"decay": 0.02})
    (project.root / "src" / project.policy.package / "train.py").write_text(mini_project.RECIPE)
    commit = mini_project.commit(project.root, "A recipe")
    found = mini_project.released(project)
    git.export(project.root, commit, found.folder)
    holdout = (datetime(2013, 2, 1), datetime(2013, 2, 22))
    record = found.release.model_copy(update={"evaluation": found.release.evaluation.model_copy(update={"holdout": holdout})})
    return replace(found, release=record)


def _with(live: Champion, recipe: str) -> Champion:
    """The same model, of another recipe."""
    (live.folder / "src" / live.project.policy.package / "train.py").write_text(recipe)
    return live


def _window(live: Champion, start: datetime = START, end: datetime = END) -> shadow.Window:
    frame = dataset.load(live.project, start, end)
    return shadow.Window(frame, of_champion(live, frame), start, end)


def _tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and ".git/" not in f"{p}"}


def test_a_model_that_holds_has_not_decayed(live: Champion, temporary: Path) -> None:
    """The same recipe finds nothing new: no decay."""
    found, reason = shadow.judge(live, _window(live), 1.0)

    assert not reason
    assert found is not None
    assert (found.found, found.gain, found.days) == ("no", 0.0, 28)


def test_a_worse_model_has_decayed(live: Champion, temporary: Path) -> None:
    """What the recipe makes of today's rows beats the live model."""
    mini_project.model(live.folder, noise=9.0)

    found, _ = shadow.judge(live, _window(live), 1.0)

    assert found is not None
    assert found.found == "yes"
    assert found.lower > 0.02


def test_a_change_of_concept_is_told_by_the_latest_rows(live: Champion, temporary: Path) -> None:
    """All rows still say what was; those of the last two weeks alone say what is."""
    frame = dataset.load(live.project, START, END)
    frame.loc[frame["time"] >= START, "late"] = 1 - frame["late"]  # the window, and nothing before it

    found, _ = shadow.judge(live, shadow.Window(frame, of_champion(live, frame), START, END), 1.0)

    assert found is not None
    assert (found.found, found.days) == ("yes", 14)
    assert found.gain > 0.5


def test_a_shadow_sees_all_rows_before_the_window_and_none_of_it(live: Champion, temporary: Path) -> None:
    """From the first period to the window's first day."""
    teller = _with(live, TELLS)
    before, window = dataset.load(live.project, datetime(2013, 1, 1), START), dataset.load(live.project, START, END)

    found = shadow.predict(teller, before, window, START, END)

    x = window["x"].to_numpy()
    expected = 1 / (1 + np.exp(-(len(before) / 1e6 * x + 59 / 1e3 * np.sin(1000 * x))))
    assert found == pytest.approx(expected)


def test_rows_keep_their_order(live: Champion, temporary: Path) -> None:
    """Predictions belong to the rows as they were given."""
    before, window = dataset.load(live.project, datetime(2013, 1, 1), START), dataset.load(live.project, START, END)
    mixed = window.sample(frac=1, random_state=0)

    straight, other = (shadow.predict(live, before, rows, START, END) for rows in (window, mixed))

    assert other == pytest.approx(straight[mixed.index.to_numpy()])


def test_nothing_is_left_behind(live: Champion, temporary: Path) -> None:
    """Neither in the project, nor in the champion's folder, nor among the temporary files."""
    (live.project.root / MODEL).parent.mkdir(exist_ok=True)
    (live.project.root / MODEL).write_text("mine")
    before = _tree(live.project.root)

    shadow.judge(live, _window(live), 1.0)

    assert {k: v for k, v in _tree(live.project.root).items() if "__pycache__" not in k} == {
        k: v for k, v in before.items() if "__pycache__" not in k
    }
    assert not list(temporary.iterdir())
    assert git.run("status", "--porcelain", "--untracked-files=no", cwd=live.project.root) == ""


def test_other_code_than_todays_trains_and_predicts(live: Champion, temporary: Path) -> None:
    """The champion's commit counts, not what was changed since."""
    project = live.project
    (project.root / "src" / project.policy.package / "train.py").write_text("raise SystemExit('of today')\n")
    (project.root / "src" / project.policy.package / "model.py").write_text("raise RuntimeError('of today')\n")

    found, reason = shadow.judge(live, _window(live), 1.0)

    assert found is not None, reason
    assert found.found == "no"


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("import sys\nprint('first', file=sys.stderr)\nsys.exit('the last line')\n", "stage train failed: the last line"),
        ("raise KeyError('x')\n", "stage train failed: KeyError: 'x'"),
        ("", "stage train made no models/model.onnx"),
        ("import os\nos._exit(3)\n", "stage train failed: exit code 3"),
        ("from pathlib import Path\nPath('models/model.onnx').write_text('{}')\n", "cannot predict these rows"),
    ],
)
def test_a_recipe_that_fails_says_why(live: Champion, temporary: Path, recipe: str, words: str) -> None:
    """Decay is not known then; a model of before is not taken for the shadow."""
    found, reason = shadow.judge(_with(live, recipe), _window(live), 1.0)

    assert found is None
    assert reason.startswith("no fresh model could be trained (")
    assert words in reason
    assert not list(temporary.iterdir())


def test_a_recipe_that_does_not_end_is_stopped(live: Champion, temporary: Path, tmp_path: Path) -> None:
    """With all that it started."""
    mark = tmp_path / "alive"
    script = f"import subprocess, time\nsubprocess.Popen(['sh', '-c', 'sleep 4; touch {mark}'])\ntime.sleep(60)\n"

    found, reason = shadow.judge(_with(live, script), _window(live), 1.0, timeout=2)

    assert found is None
    assert "took longer than 2 seconds" in reason
    assert not list(temporary.iterdir())
    assert not mark.exists()


def test_a_pipeline_without_the_stage_has_no_shadow(live: Champion, temporary: Path) -> None:
    """Also one without a pipeline, and one that cannot be read."""
    pipeline = live.folder / "dvc.yaml"
    for text, words in (
        ("stages:\n  fit:\n    cmd: echo\n", "has no stage 'train'"),
        (None, "has no stage 'train'"),
        ("stages: [", "The pipeline cannot be read"),
    ):
        pipeline.unlink() if text is None else pipeline.write_text(text)

        found, reason = shadow.judge(live, _window(live), 1.0)

        assert found is None
        assert words in reason


def test_stages_before_it_are_run_too(live: Champion, temporary: Path) -> None:
    """What the stage needs is made first, in its folder, with the values of params.yaml."""
    package = live.project.policy.package
    (live.folder / "dvc.yaml").write_text(
        textwrap.dedent(f"""
        stages:
          train:
            cmd: ["test -f ${{made}}", "python src/{package}/train.py"]
            deps: [made.txt]
            outs: [models/model.onnx]
          prepare:
            wdir: src
            cmd: touch ../made.txt
            deps: [../data/raw]
            outs: [../made.txt]
        """)
    )
    (live.folder / "params.yaml").write_text("made: made.txt\n")

    commands = store.commands(live.folder, "train")
    found, reason = shadow.judge(live, _window(live), 1.0)

    assert [command for command, _ in commands] == ["touch ../made.txt", "test -f made.txt", f"python src/{package}/train.py"]
    assert found is not None, reason


def test_days_that_the_live_model_was_trained_on_are_left_out(live: Champion, temporary: Path) -> None:
    """It would look better on them than it is."""
    at = live.release.evaluation.holdout[0]  # 1 February
    frame = dataset.load(live.project, datetime(2013, 1, 15), datetime(2013, 2, 12))
    window = shadow.Window(frame, of_champion(live, frame), datetime(2013, 1, 15), datetime(2013, 2, 12))

    found, reason = shadow.judge(live, window, 1.0)

    assert found is None
    assert reason == "there are no newer rows to train a fresh model on than those of the live one"
    assert at > window.start


def test_late_labels_shorten_the_window(live: Champion, temporary: Path) -> None:
    """Days whose labels are still to come do not judge."""
    window = _window(live)
    late = window.frame["time"] >= END - timedelta(days=10)
    window = replace(window, frame=window.frame.assign(late=window.frame["late"].where(~late)))

    found, reason = shadow.judge(live, window, 1.0)

    assert found is not None, reason
    assert found.days == 18


def test_without_labels_nothing_is_trained(live: Champion, temporary: Path) -> None:
    """Decay is not known then."""
    window = _window(live)
    window = replace(window, frame=window.frame.assign(late=np.nan))

    assert shadow.judge(live, window, 1.0) == (None, "labels of 0 days have matured, and 7 are needed")


def test_too_little_to_train_or_judge_on_is_an_error(live: Champion, temporary: Path) -> None:
    """No rows before the window, or fewer days than an interval needs."""
    window = dataset.load(live.project, START, END)

    with pytest.raises(ShadowError, match="no rows before 2013-03-01"):
        shadow.predict(live, window.iloc[:0], window, START, END)
    with pytest.raises(ShadowError, match="6 days are too few"):
        shadow.predict(live, window, window, START, START + timedelta(days=6))


def test_what_the_recipe_says_reaches_nobody(
    live: Champion, temporary: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No output of the job, no run in the registry, no annotation."""
    monkeypatch.setenv("GITHUB_OUTPUT", str(live.project.root / "output"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    told = "import os, sys\nprint('::error::said')\nsys.exit(' '.join({'GITHUB_OUTPUT', 'MLFLOW_TRACKING_URI'} & {*os.environ}) or 'no')\n"

    _, reason = shadow.judge(_with(live, told), _window(live), 1.0)

    assert "stage train failed: no)" in reason
    assert "::error::" not in "".join(capfd.readouterr())
    assert os.environ["GITHUB_OUTPUT"]


def test_a_link_out_of_the_project_is_not_followed(live: Champion, temporary: Path, tmp_path: Path) -> None:
    """What lies at its end stays as it is."""
    outside = tmp_path / "outside"
    (outside / "raw").mkdir(parents=True)
    (outside / "raw/kept.parquet").write_text("rows")
    (live.folder / "data/raw/.gitignore").unlink()
    (live.folder / "data/raw").rmdir()
    (live.folder / "data").rmdir()
    (live.folder / "data").symlink_to(outside)

    found, reason = shadow.judge(live, _window(live), 1.0)

    assert found is None
    assert "data/raw is a link that leaves the project" in reason
    assert (outside / "raw/kept.parquet").exists()


def test_a_released_model_of_a_real_project_is_shadowed(merged: Project, temporary: Path) -> None:
    """As ``champion.load`` gives it, after train, register, propose and merge."""
    live = champion.load(merged)
    assert live is not None
    at = live.release.evaluation.holdout[0]
    start, end = at + timedelta(days=14), at + timedelta(days=42)

    found, reason = shadow.judge(live, _window(live, start, end), 1.0)

    assert found is not None, reason
    assert found.found == "no"
    assert git.run("status", "--porcelain", "--untracked-files=no", cwd=merged.root) == ""
