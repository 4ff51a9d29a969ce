"""The contract's file, and whether the model beside it is the one that it names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modelyard.serve.contract import FILE, MODEL, Column, Contract, read, verified


def write(folder: Path, content: bytes = b"weights", sha256: str = "") -> Contract:
    """Write a model and its contract."""
    (folder / MODEL).write_bytes(content)
    columns = [Column(name="x", kind="number", above=0, nullable=True), Column(name="t", kind="text", values=["a"])]
    made = Contract(name="mini", task="binary", sha256=sha256 or hashlib.sha256(content).hexdigest(), columns=columns)
    (folder / FILE).write_text(made.model_dump_json(exclude_none=True))
    return made


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Defaults included."""
    assert write(tmp_path) == read(tmp_path / FILE) == verified(tmp_path)


def test_a_changed_model_is_noticed(tmp_path: Path) -> None:
    """One byte is enough; both hashes are told."""
    made = write(tmp_path)
    (tmp_path / MODEL).write_bytes(b"weightz")

    with pytest.raises(ValueError, match=rf"{MODEL} is [0-9a-f]{{12}}, and {FILE} names {made.sha256[:12]}"):
        verified(tmp_path)


@pytest.mark.parametrize("name", [MODEL, FILE])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """Whichever it is."""
    write(tmp_path)
    (tmp_path / name).unlink()

    with pytest.raises(ValueError, match=f"{name}: No such file"):
        verified(tmp_path)


@pytest.mark.parametrize("change", [("{", ""), ('"format":1', '"format":2'), ('"name":"mini"', '"nam":"mini"'), ('"number"', '"numbers"')])
def test_a_damaged_contract_is_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    """No JSON, of another format, or with a key or a kind that nobody knows."""
    write(tmp_path)
    text = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(text.replace(*change, 1))
    assert (tmp_path / FILE).read_text() != text

    with pytest.raises(ValueError, match="damaged, or of another version"):
        verified(tmp_path)
