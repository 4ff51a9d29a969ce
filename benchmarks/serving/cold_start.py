"""From the start of a server's command to its first `ready`, on both cores; servers in turn, in random order."""

from __future__ import annotations

import json
import random
from pathlib import Path
from statistics import median

import click
import psutil
import servers
import yard

NAMES = ["mlflow models serve", "FastAPI", "BentoML, defaults", "modelyard", "modelyard without BentoML"]
REACH = 4.0


@click.command(help=__doc__)
@yard.CACHE
@click.option("--rounds", default=7, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path))
def main(cache: Path, rounds: int, file: Path | None) -> None:
    made = yard.make(cache)
    took: dict[str, list[float]] = {name: [] for name in NAMES}
    worked: dict[str, list[float]] = {name: [] for name in NAMES}
    loads = []
    for _ in range(rounds):
        for name in random.sample(NAMES, len(NAMES)):
            with servers.running(name, made, cache, cores="0,1") as server:
                took[name].append(round(server.started, 2))
                worked[name].append(round(server.cpu(), 2))
            loads.append(psutil.getloadavg()[0])
    document = {"seconds": took, "cpu_seconds": worked, "load": [round(each, 1) for each in loads]}
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=1) + "\n")
    lines = ["| server | seconds: median | fastest | slowest | processor seconds |", "|---|---|---|---|---|"]
    for name, each in took.items():
        lines.append(f"| {name} | {median(each):.1f} | {min(each):.1f} | {max(each):.1f} | {median(worked[name]):.1f} |")
    ours = median(took["modelyard"])
    click.echo("\n".join([*lines, "", f"{'Reached' if ours <= REACH else '**MISSED**'}: {ours:.1f} s, at most {REACH:g} s."]))


if __name__ == "__main__":
    main()
