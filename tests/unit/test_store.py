"""DVC behind one door, in real repositories."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from unit import mini_project

from modelyard import git, store
from modelyard.errors import StoreError, UsageError
from modelyard.project import MODEL, RAW, Project


@pytest.fixture
def yard(tmp_path: Path) -> Project:
    return mini_project.yard(tmp_path)


def put(project: Project, name: str, text: str) -> Path:
    path = RAW / f"{name}.parquet"
    (project.root / path).write_text(text)
    store.add(project.root, path)
    return path


def test_data_go_to_the_remote_and_come_back(yard: Project, tmp_path: Path) -> None:
    """What is delivered into a transaction's folder can be pulled from there, and only what misses on disk is."""
    first, second = put(yard, "2013-01", "one"), put(yard, "2013-02", "two")
    sent = store.push(yard.root, tmp_path / "transaction/dvc")
    again = store.push(yard.root, tmp_path / "transaction/dvc")
    (yard.root / ".modelyard").mkdir()
    (tmp_path / "transaction").rename(yard.root / ".modelyard/state")
    shutil.rmtree(yard.root / ".dvc/cache")
    (yard.root / first).unlink()
    (yard.root / second).write_text("edited")

    store.pull_missing_data(yard.root, RAW)

    assert (sent, again) == (2, 0)
    assert (yard.root / first).read_text() == "one"
    assert (yard.root / second).read_text() == "edited"


def test_pointers_name_the_contents(yard: Project) -> None:
    """Path and content hash of each file that has a pointer; a pointer taken away is gone, the file stays."""
    path = put(yard, "2013-01", "one")

    found = store.data_pointers(yard.root, RAW)
    store.remove(yard.root, path)

    assert found == {"data/raw/2013-01.parquet": "f97c5d29941bfb1b2fdab0874906ab82"}
    assert store.data_pointers(yard.root, RAW) == {}
    assert (yard.root / path).exists()


@pytest.mark.parametrize("text", ["", "outs: []", "outs:\n- md5: x", "[", "<<<<<<< HEAD"])
def test_a_broken_pointer_is_named(yard: Project, text: str) -> None:
    """Empty, without its hash or path, with conflict marks: the file is named."""
    (yard.root / RAW / "2013-01.parquet.dvc").write_text(text)

    with pytest.raises(StoreError, match=r"2013-01\.parquet\.dvc is not a DVC pointer"):
        store.data_pointers(yard.root, RAW)


def test_the_pipeline_is_that_of_the_project(yard: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wherever the command was started, and only where something changed."""
    put(yard, "2013-01", "one")
    (yard.root / "src/deep").mkdir()
    monkeypatch.chdir(yard.root / "src/deep")

    assert store.reproduce(yard.root) == ["train"]
    monkeypatch.chdir(tmp_path)
    assert store.reproduce(yard.root) == []
    assert (yard.root / MODEL).exists()


def test_an_output_of_an_earlier_commit_is_delivered(merged: Project) -> None:
    """The bytes are those that the commit's lock names, whatever lies in the working tree."""
    (merged.root / MODEL).write_text("something else")

    assert b"slope" in store.read(merged.root, MODEL, "HEAD")
    with pytest.raises(StoreError, match=r"names no models/model\.onnx"):
        store.read(merged.root, MODEL, git.head(merged.root, "HEAD~1"))


def test_what_the_code_depends_on(merged: Project) -> None:
    """Code, parameters and the pipeline itself; neither data nor what the pipeline makes."""
    package = merged.policy.package

    found = store.code_dependencies((merged.root / "dvc.lock").read_bytes(), RAW)

    assert found == ["dvc.yaml", "params.yaml", f"src/{package}/model.py", f"src/{package}/train.py"]


def test_a_remote_without_the_data_is_told_with_the_remedy(merged: Project) -> None:
    """Neither cache nor remote hold the file: the message names `modelyard state pull`."""
    for folder in (".dvc/cache", ".modelyard"):
        shutil.rmtree(merged.root / folder)
    (merged.root / RAW / "2013-01.parquet").unlink()

    with pytest.raises(StoreError, match="DVC failed") as caught:
        store.pull_missing_data(merged.root, RAW)

    assert "modelyard state pull" in caught.value.fix


def test_another_default_remote_is_not_the_embedded_one(yard: Project, tmp_path: Path) -> None:
    """The name decides, so one line of configuration connects a real store."""
    assert store.is_embedded(yard.root)
    config = yard.root / ".dvc/config"
    config.write_text(
        config.read_text().replace("remote = state", "remote = real") + f"['remote \"real\"']\n    url = {tmp_path / 'real'}\n"
    )
    put(yard, "2013-01", "one")

    assert not store.is_embedded(yard.root)
    assert store.push(yard.root) == 1
    assert list((tmp_path / "real").rglob("7c5d*"))


def test_a_folder_without_git_or_dvc_is_told(tmp_path: Path) -> None:
    """Each is named as what is missing."""
    with pytest.raises(UsageError, match="not in a git repository"):
        store.is_embedded(tmp_path)
    git.run("init", "--quiet", cwd=tmp_path)
    with pytest.raises(StoreError, match="DVC"):
        store.is_embedded(tmp_path)


def test_stdout_stays_the_reports(yard: Project, capfd: pytest.CaptureFixture[str]) -> None:
    """What DVC and the stages print goes to stderr."""
    put(yard, "2013-01", "one")
    store.reproduce(yard.root)

    told = capfd.readouterr()
    assert told.out == ""
    assert "said by the stage" in told.err
