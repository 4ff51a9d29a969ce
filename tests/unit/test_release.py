"""The release record."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard import release
from modelyard.errors import PolicyError

RECORD: dict[str, Any] = {
    "model": {"name": "m", "version": "3", "run_id": "r", "path": "models/model.onnx", "sha256": "a" * 64},
    "evaluation": {
        "sha256": "b" * 64,
        "verdict": "promote",
        "metric": "roc_auc",
        "challenger": 0.7,
        "champion": None,
        "lower": None,
        "holdout": ["2013-03-11T00:00:00", "2013-04-01T00:00:00"],
    },
    "data": [{"path": "data/raw/2013-01.parquet", "md5": "c" * 32}],
    "code": {"commit": "d" * 40, "dvc_lock": "e" * 64, "uv_lock": None},
    "logical_date": "2013-04-01T00:00:00Z",
    "trigger": "schedule",
    "risk": "moderate",
}


def test_a_record_comes_back_as_it_was_written() -> None:
    """Writing and reading are inverse, and the same record is the same bytes."""
    record = release.read(yaml.safe_dump(RECORD))

    written = release.write(record)

    assert release.read(written) == record
    assert release.write(release.read(written)) == written
    assert list(yaml.safe_load(written))[:3] == ["version", "model", "evaluation"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluation": {**RECORD["evaluation"], "verdict": "keep"}}, "evaluation.verdict: .*'promote'"),
        ({"model": {**RECORD["model"], "sha256": "A" * 64}}, "model.sha256: .*pattern"),
        ({"code": {**RECORD["code"], "commit": "main"}}, "code.commit"),
        ({"data": [{"path": "p", "md6": "x"}]}, "data.0.md6: unknown key; did you mean 'md5'"),
        ({"approved": "me"}, "approved: unknown key; did you mean 'approved_by'"),
    ],
)
def test_what_a_record_must_not_say_is_told(change: dict[str, Any], message: str) -> None:
    """A verdict other than promote, half a hash, a branch for a commit, an unknown key."""
    with pytest.raises(PolicyError, match=message):
        release.read(yaml.safe_dump({**RECORD, **change}))


@pytest.mark.parametrize("text", [b"<<<<<<< HEAD\nversion: 1\n", b"\xff\xfe\x00", b"", b"logical_date: 2013-02-30\n"])
def test_a_broken_file_is_told(text: bytes) -> None:
    """Conflict marks, other bytes, nothing, a day that does not exist: one message that names the file."""
    with pytest.raises(PolicyError, match=r"releases/production\.yaml"):
        release.read(text)


def test_sha256(tmp_path: Path) -> None:
    """The digest is that of the file's bytes."""
    (tmp_path / "model").write_bytes(b"bytes")

    assert release.sha256(tmp_path / "model") == hashlib.sha256(b"bytes").hexdigest()
