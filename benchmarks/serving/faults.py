"""What is done to a running service: a worker is killed, the model file is damaged, the disk is full. Nothing may be silent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import psutil
import servers
import yard

from modelyard.loadtest import generator
from modelyard.loadtest.generator import Sample

RATE = 50.0
#: Rows of each request where the disk is full, and answers of them that may wait for it: modelyard.serve.log keeps 50,000 rows, and what it
#: is about to write.
ROWS, WAITING = 100, 1500


@click.command(help=__doc__)
@yard.CACHE
@click.option("--json", "file", type=click.Path(path_type=Path))
def main(cache: Path, file: Path | None) -> None:
    made = yard.make(cache)
    found: dict[str, Any] = {}
    for check in (killed, damaged, replaced, full):
        found[check.__name__] = check(made, cache)
        met, words = found[check.__name__].pop("met"), found[check.__name__]["words"]
        click.echo(f"- {'reached' if met else 'not run' if met is None else '**MISSED**'}: {words}")
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=1) + "\n")


def killed(made: yard.Yard, cache: Path) -> dict[str, Any]:
    """One of two workers is killed with SIGKILL under load, twice, once the first is replaced; then all of them."""
    pause, seconds = 12.0, 50.0
    end = 3 * pause
    with servers.running("modelyard", made, cache, cores="0,1", env={"MODELYARD_WORKERS": "2"}) as server:
        before = {each.pid for each in _living(server)}

        def act() -> None:
            for _ in range(2):
                time.sleep(pause)
                _worker(server).kill()
            time.sleep(pause)
            for each in _living(server):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()

        samples, errors = _pressed(server, made, seconds, act)
        after = {each.pid for each in _living(server)}
        start = samples[0].due
        last = max((sample.due - start for sample in samples if sample.error), default=0.0)
        down = [sample for sample in samples if sample.due - start >= end and sample.error]
    words = (
        f"workers killed at {RATE:g} requests a second: one of two, {pause:g} s later another, then both: {sum(errors.values())} of "
        f"{len(samples):,} requests failed ({dict(errors) or 'none'}), {len(down)} of them once both were killed; "
        f"{max(0.0, last - end):.1f} s later new ones served"
    )
    return {
        "met": bool(after) and not after & before and last < seconds - 3,
        "words": words,
        "errors": dict(errors),
        "after_all": len(down),
    }


def damaged(made: yard.Yard, cache: Path) -> dict[str, Any]:
    """One byte of the model is another; or the deployment names another model: the start is refused, in words, with a code."""
    said = []
    for name, spoil, env in (
        ("one byte of the model changed", _flip, {}),
        ("the model cut off", lambda path: path.write_bytes(path.read_bytes()[:1000]), {}),
        ("no contract", lambda path: path.with_name("serving.json").unlink(), {}),
        ("MODELYARD_SHA256 names another", lambda _: None, {"MODELYARD_SHA256": "0" * 64}),
    ):
        with _copy(made, spoil) as other:
            try:
                with servers.running("modelyard", other, cache, cores="0,1", env=env):
                    said.append((name, "IT SERVES"))
            except SystemExit as refusal:
                lines = [line for line in str(refusal).splitlines() if "models" in line or "MODELYARD" in line]
                said.append((name, lines[-1].strip()[-200:] if lines else str(refusal)[-200:]))
    shown = "; ".join(f"{name}: {_without_paths(words)}" for name, words in said)
    return {"met": all("IT SERVES" not in words for _, words in said), "words": f"refused at the start: {shown}"}


def replaced(made: yard.Yard, cache: Path) -> dict[str, Any]:
    """The file changes while it serves: what is loaded serves on; a worker that starts anew refuses, and the service ends."""
    with _copy(made, lambda _: None) as other, servers.running("modelyard", other, cache, cores="0,1") as server:
        _flip(other.bento / "src/models/model.onnx")
        server.check(1)
        _worker(server).kill()
        gone, _ = psutil.wait_procs([server.process], timeout=60)
        log = server.log.read_text(errors="replace")
    words = [line for line in log.splitlines() if "serving.json names" in line]
    told = _without_paths(words[-1][-160:]) if words else "nothing is said"
    ends = "the service ends" if gone else "IT RUNS"
    return {"met": bool(gone) and bool(words), "words": f"damaged while it serves: it serves on; once a worker is killed {ends}: {told}"}


def full(made: yard.Yard, cache: Path) -> dict[str, Any]:
    """The log's disk is full: it serves on, and counts what the log lost."""
    with tempfile.TemporaryDirectory(prefix="serving-full-") as folder:
        if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False).returncode:
            return {"met": None, "words": "disk full: a small file system could not be mounted (needs root)"}
        try:
            with servers.running("modelyard", made, cache, cores="0,1", env={"MODELYARD_LOG": folder}) as server:
                samples, errors = _pressed(server, made, 40, lambda: None, rows=ROWS)
                time.sleep(1)
                lost = server.counts("modelyard_log_lost_total", by="")[""]
                served = server.counts("modelyard_requests_total", by="status", endpoint="/predict")["200"]
                memory = server.memory()
            lines = sum(_whole(line) for path in Path(folder).rglob("*") if path.is_file() for line in path.read_text().splitlines())
        finally:
            subprocess.run(["umount", folder], check=True)
    words = (
        f"disk full: {len(samples):,} requests of {ROWS} rows, {sum(errors.values())} failed; of {served:,} answers {lines:,} stand in "
        f"the log, {lost:,} are counted as lost, the others wait in memory ({memory:.0f} MB in all)"
    )
    return {
        "met": not errors and lost > 0 and served - lines - lost <= WAITING,
        "words": words,
        "lines": lines,
        "lost": lost,
        "served": served,
    }


def _whole(line: str) -> bool:
    try:
        return bool(json.loads(line))
    except ValueError:
        return False


def _pressed(
    server: servers.Server, made: yard.Yard, seconds: float, act: Callable[[], None], rows: int = 1
) -> tuple[list[Sample], Counter[str]]:
    """Requests at a constant rate, while something is done beside them."""

    async def both(watch: generator.Watch) -> list[Sample]:
        async with generator.session(10) as session:
            asker = generator.Generator(session, server.address, generator.questions(*made.rows(20), rows), watch)
            offered, _ = await asyncio.gather(asker.offer(RATE, seconds), asyncio.to_thread(act))
        return sorted(offered.samples, key=lambda sample: sample.due)

    samples = generator.run(both)
    return samples, Counter(sample.error for sample in samples if sample.error)


def _living(server: servers.Server) -> list[psutil.Process]:
    """What the supervisor has started, and is not dead: it looks after the dead every ten seconds."""
    return [each for each in server.family()[1:] if each.status() != psutil.STATUS_ZOMBIE]


def _worker(server: servers.Server) -> psutil.Process:
    """The youngest process that serves."""
    return max((each for each in _living(server) if "worker" in " ".join(each.cmdline())), key=lambda each: each.create_time())


@contextlib.contextmanager
def _copy(made: yard.Yard, spoil: Callable[[Path], object]) -> Iterator[yard.Yard]:
    """The Bento, spoilt."""
    with tempfile.TemporaryDirectory(prefix="serving-bento-") as folder:
        shutil.copytree(made.bento, Path(folder) / "bento")
        spoil(Path(folder) / "bento/src/models/model.onnx")
        yield replace(made, bento=Path(folder) / "bento")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _without_paths(text: str) -> str:
    return re.sub(r"/\S*/", "", text)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: exit(1))
    main()
