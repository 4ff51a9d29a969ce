"""What a check costs, whole process: CPU seconds and peak memory, the tools one after another in each round."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import flights
import output
import peers

HERE = Path(__file__).parent
MODELYARD = Path(sys.executable).with_name("modelyard")
ALERT = 10  # exit code of a check that finds something
TARGETS = {"July": {"evidently": 30, "nannyml": 20, "mb": 150}, "10M": {"evidently": 200, "nannyml": 90, "memory": 10}}
CHECK, PAGE, PROFILE = "modelyard: check", "modelyard: check and page", "modelyard: profile, once"
SECONDS, MB = 720, 12_000  # a tool that takes more on 10 million rows is stopped
Run = dict[str, Any]


def run(command: list[str | Path], question: dict[str, str] | None = None, seconds: float = 0, mb: float = 0) -> Run:
    """Run a command on its own and measure it; stop it beyond the limits, 0 being none."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        result = subprocess.run(
            [sys.executable, "-I", "-S", HERE / "measured.py", file.name, str(seconds), str(mb), *command],
            input=json.dumps(question) + "\n" if question else "",
            text=True,
            capture_output=True,
            check=True,
            env={**os.environ, **peers.QUIET},
        )
        found = json.loads(Path(file.name).read_text())
    if found.pop("code") not in (0, ALERT):
        sys.exit(f"{command[0]} failed:\n{result.stderr[-2000:]}")
    if not found["stopped"]:
        del found["stopped"]
    return found


def measure(reference: Path, current: Path, cache: Path, rounds: int, tools: dict[str, int]) -> dict[str, list[Run]]:
    """Some rounds, of the other tools as many as said; one after another. Beyond ``SECONDS`` or ``MB`` they are stopped."""
    profile, page, report = cache / "reference.profile", cache / "page.html", cache / "report.json"
    ours = [MODELYARD, "monitor", "--profile", profile, "--current", current, "--json", report]
    commands: dict[str, tuple[list[str | Path], dict[str, str] | None]] = {
        PROFILE: ([MODELYARD, "profile", reference, "-o", profile, "--time", "time"], None),
        CHECK: (ours, None),
        PAGE: ([*ours, "--html", page], None),
    }
    for tool in tools:
        question = {"reference": str(reference), "current": str(current), "html": str(cache / f"{tool}.html")}
        commands[f"{tool}: report and HTML"] = (peers.command(tool, cache), question)
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, (command, question) in commands.items():
            if number >= tools.get(name.split(":")[0], rounds):
                continue
            found[name].append(run(command, question, SECONDS, MB) if question else run(command))
            click.echo(f"round {number + 1}, {name}: {found[name][-1]}", err=True)
    return found


def report(figures: dict[str, dict[str, list[Run]]]) -> str:
    """A table for each size, and the ratios; those to a stopped tool are lower bounds."""
    text = ""
    for size, found in figures.items():
        middle = {name: {key: statistics.median(r[key] for r in runs) for key in ("wall", "cpu", "mb")} for name, runs in found.items()}
        stopped = {name: next((r["stopped"] for r in runs if "stopped" in r), "") for name, runs in found.items()}
        mine = middle[CHECK]
        rows = []
        for name, m in middle.items():
            sign = "> " if stopped[name] else ""
            ratios = f"{sign}{m['cpu'] / mine['cpu']:.0f}x", f"{sign}{m['mb'] / mine['mb']:.1f}x"
            title = f"{name}; stopped {stopped[name]}" if stopped[name] else name
            rows.append([title, len(found[name]), f"{m['wall']:.2f}", f"{m['cpu']:.2f}", f"{m['mb']:.0f}", *ratios])
        header = [size, "runs", "wall s", "CPU s", "peak MB", "CPU, to our check", "memory, to our check"]
        text += output.table(header, rows) + "\n" + _verdict(size, middle, stopped) + "\n"
    return text


def _verdict(size: str, middle: dict[str, Run], stopped: dict[str, str]) -> str:
    lines, mine = [], middle[CHECK]
    goals: dict[str, int] = TARGETS.get(size, {})
    for name, m in middle.items():
        tool = name.split(":")[0]
        if tool in goals:
            least, missed = (" or less", "not shown, as it was stopped") if stopped[name] else ("", "MISSED")
            shares = [("CPU", "cpu", goals[tool]), *([("Memory", "mb", goals["memory"])] if "memory" in goals else [])]
            for label, key, goal in shares:
                times = m[key] / mine[key]
                lines.append(f"- {label} 1/{times:.0f}{least} of {tool}'s, target 1/{goal}: {'reached' if times >= goal else missed}.")
    if "mb" in goals:
        lines.append(f"- Memory {mine['mb']:.0f} MB, target {goals['mb']}: {'reached' if mine['mb'] <= goals['mb'] else 'MISSED'}.")
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@flights.CACHE
@output.JSON
@click.option("--size", "sizes", multiple=True, type=click.Choice(list(TARGETS)), default=list(TARGETS), show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Of 10 million rows the other tools have one.")
@click.option("--only-ours", is_flag=True, help="Leave the other tools out.")
def main(cache: Path, json_file: Path | None, sizes: tuple[str, ...], rounds: int, only_ours: bool) -> None:
    cache = flights.folder(cache)
    figures = output.read(json_file).get("cost", {})
    for size in sizes:
        reference, current = flights.halves(cache) if size == "July" else flights.grown(cache, 10_000_000)
        tools = {} if only_ours else dict.fromkeys(peers.TOOLS, rounds if size == "July" else 1)
        figures[size] = figures.get(size, {}) | measure(reference, current, cache, rounds, tools)
        output.write(json_file, {"cost": figures})
    click.echo(report(figures))


if __name__ == "__main__":
    main()
