"""``modelyard package``: the Bento of the model just trained, tried before anybody is asked to approve it."""

from __future__ import annotations

import json

import click

from modelyard import git, serving
from modelyard.console import step
from modelyard.errors import ProjectError
from modelyard.outcome import Outcome
from modelyard.project import EXAMPLES, MODEL, Project, find
from modelyard.release import sha256


def run(project: Project) -> Outcome:
    """Build the Bento, start it and compare its answers with the recorded ones.

    Writes ``reports/package.json``: tag, requirements, smoke test.
    """
    for path in (MODEL, EXAMPLES):
        if not (project.root / path).exists():
            raise ProjectError(f"{path} is missing.", "Run `modelyard train` first.")
    model = project.root / MODEL
    home = project.root / ".modelyard" / "bentoml"
    name = project.policy.name
    with step("build the Bento"):
        bento = serving.build(
            code=project.root,
            model=model,
            package=project.policy.package,
            name=name,
            labels={"modelyard.model": name, "modelyard.sha256": sha256(model)[:63], "modelyard.commit": git.head(project.root)},
            home=home,
        )
    with step("smoke test"):
        smoke = serving.smoke_test(bento, project.root / EXAMPLES, home)
    report = {"bento": bento.tag, "requirements": serving.requirements(), "smoke_test": smoke}
    project.report("package.json").write_text(json.dumps(report, indent=2) + "\n")
    lines = [
        f"**package: {bento.tag}**",
        "",
        f"The service gave the {smoke['rows']} recorded predictions again (largest difference {smoke['difference']:.2g}).",
    ]
    return Outcome(verdict="", summary="\n".join(lines), outputs={"bento": bento.tag})


@click.command("package")
def command() -> Outcome:
    """Build the Bento of the model just trained, start it, and compare its answers with the predictions recorded at training."""
    return run(find())
