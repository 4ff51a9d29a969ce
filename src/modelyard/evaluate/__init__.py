"""``modelyard evaluate``: the challenger against the policy's criteria, and against the champion on the same held-out days.

=====================================================  ====================================================================
pure                                                   asks
=====================================================  ====================================================================
:mod:`.metrics`, :mod:`.statistic`, :mod:`.paired`     point values; each without each day; intervals over days
:mod:`.gate`                                           success criteria; champion against challenger; the first release
:mod:`.segments`, :mod:`.fairness`                     who is served worse
:mod:`.robustness`, :mod:`.leakage`                    does it break; is it too good to be true
:mod:`.importance`, :mod:`.dependence`, :mod:`.curves` what it lives on
:mod:`.scores`                                         all of the above, that labels and scores alone can answer
:mod:`.decision`, :mod:`.report`                       one verdict of all checks; what is written
=====================================================  ====================================================================

:mod:`.challenge` loads and predicts in a project, :mod:`.bare` reads predictions from files, :mod:`.readiness` times what serves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelyard.errors import PolicyError, UsageError
from modelyard.outcome import Outcome

if TYPE_CHECKING:
    from modelyard.evaluate.bare import Files
    from modelyard.evaluate.report import Evaluation
    from modelyard.policy import Evaluate
    from modelyard.project import Project

REPORT = "evaluate.json"
PAGE = "evaluate.html"


def run(project: Project) -> Outcome:
    """Judge ``models/model.onnx`` and write ``reports/evaluate.json`` and ``.html``; promote is positive, keep and block are not."""
    from modelyard import champion, jsonfile
    from modelyard.console import step
    from modelyard.evaluate import challenge, page

    with step("bring the champion"):
        rival = champion.load(project)
    with step("evaluate"):
        found = challenge.judge(project, rival)
    jsonfile.write(project.report(REPORT), found)
    page.write(found, project.report(PAGE))
    return outcome(found)


def table(files: Files, settings: Evaluate, *, json: Path | None = None, html: Path | None = None) -> Outcome:
    """Judge predictions from files; see :func:`modelyard.evaluate.bare.judge`."""
    from modelyard import jsonfile
    from modelyard.evaluate import bare

    found = bare.judge(files, settings)
    if json:
        jsonfile.write(json, found)
    if html:
        from modelyard.evaluate import page

        page.write(found, html)
    return outcome(found)


def outcome(found: Evaluation) -> Outcome:
    """What the verb tells of an evaluation."""
    from modelyard.evaluate import report

    by, metric = found.comparison, found.metric
    numbers = {
        "challenger": found.challenger.metrics.get(metric),
        "champion": found.champion.metrics.get(metric) if found.champion else None,
        "difference": by.difference if by else None,
        "lower": by.lower if by else None,
    }
    return Outcome(
        verdict=found.verdict,
        summary=report.summary(found),
        positive=found.verdict == "promote",
        outputs={"metric": metric, **{name: "" if value is None else f"{value:.4f}" for name, value in numbers.items()}},
        problems=tuple(found.reasons) if found.verdict != "promote" else (),
    )


@click.command("evaluate")
@click.option("--task", type=click.Choice(["binary", "regression", "multiclass"]), help="Without a project: what is predicted.")
@click.option(
    "--challenger",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Of the new model: columns id, prediction (of classes prediction_<class>).",
)
@click.option("--champion", type=click.Path(path_type=Path), metavar="FILE", help="Of the old one; else a constant is the rival.")
@click.option("--labels", type=click.Path(path_type=Path), metavar="FILE", help="Columns id, label, time, segments, groups.")
@click.option("--metric", help="The metric that decides.  [default: roc_auc, mae, log_loss]")
@click.option("--rule", type=click.Choice(["superior", "non-inferior"]), help="What the challenger must show.  [default: superior]")
@click.option("--margin", type=click.FloatRange(min=0, min_open=True), help="How much worse a non-inferior one may be.")
@click.option("--segment", "segments", multiple=True, metavar="COLUMN", help="Column of segments; may be repeated.")
@click.option("--protected", multiple=True, metavar="COLUMN", help="Column of groups that must be treated alike; may be repeated.")
@click.option(
    "--criterion", "criteria", multiple=True, metavar="METRIC>=X", help="A metric's floor, or with <= its ceiling; may be repeated."
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Score from which a row is called 1.  [default: 0.5]"
)
@click.option(
    "--costs", type=(click.FloatRange(min=0), click.FloatRange(min=0)), metavar="FP FN", help="Cost of a false positive and negative."
)
@click.option("--weight", metavar="COLUMN", help="Column of the labels that says how much each row counts.")
@click.option("--challengers", type=click.IntRange(1), default=1, show_default=True, help="Models tried on these rows, this one included.")
@click.option("--independent-rows", is_flag=True, help="Rows of one day are no more alike than others: no time is needed.")
@click.option("--shadow", type=click.Path(path_type=Path), metavar="FOLDER", help="The prediction log: compare the shadow in it.")
@click.option("--json", type=click.Path(path_type=Path), metavar="FILE", help="Write the report there.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page there.")
def command(challenger: Path | None, labels: Path | None, **options: Any) -> Outcome:
    """Compare the challenger with the criteria and with the champion.

    In a project both models predict the same hold-out, which neither was trained on. With --task, --challenger and --labels, anywhere:
    predictions from Parquet or CSV files, joined by id. Verdict: promote, keep (nothing wrong, not shown to be better) or block
    (something is wrong, or missing); exit code 10 for the latter two. Outputs: metric, challenger, champion, difference, lower.
    In a project with --shadow: what the shadow model answered beside the live one; passes, undecided or fails.
    """
    if shadow := options.pop("shadow"):
        from modelyard.evaluate import shadowed
        from modelyard.project import find

        return shadowed.run(find(), shadow)
    if challenger is None and labels is None and options["task"] is None:
        from modelyard.project import find

        if any(value for name, value in options.items() if name != "challengers") or options["challengers"] != 1:
            raise UsageError("These options need --task, --challenger and --labels.", "In a project modelyard.yaml says all that.")
        return run(find())
    if challenger is None or labels is None or options["task"] is None:
        raise UsageError("An evaluation without a project needs --task, --challenger and --labels.", "Add what is missing.")
    from modelyard.evaluate.bare import Files

    files = Files(
        options["task"],
        challenger,
        options["champion"],
        labels,
        weight=options["weight"],
        independent=options["independent_rows"],
        challengers=options["challengers"],
    )
    return table(files, _settings(options), json=options["json"], html=options["html"])


def _settings(options: dict[str, Any]) -> Evaluate:
    from modelyard import policy

    task = options["task"]
    metric = options["metric"] or {"binary": "roc_auc", "regression": "mae", "multiclass": "log_loss"}[task]
    criteria = _criteria(options["criteria"])
    for name in (metric, *criteria):
        if name not in policy.METRICS[task]:
            raise UsageError(f"{name!r} is no metric of a {task} task.", f"Known are {', '.join(policy.METRICS[task])}.")
    raw: dict[str, Any] = {
        "metric": metric,
        "criteria": criteria,
        "rule": options["rule"] or "superior",
        "margin": options["margin"],
        "segments": {"columns": list(options["segments"])},
        "fairness": {"attributes": list(options["protected"])},
    }
    if options["threshold"] is not None:
        raw["threshold"] = options["threshold"]
    if options["costs"]:
        raw["costs"] = dict(zip(("false_positive", "false_negative"), options["costs"], strict=True))
    try:
        return policy.parse(raw, policy.Evaluate, "What the options say")
    except PolicyError as error:
        raise UsageError(error.what, error.fix) from None


def _criteria(given: tuple[str, ...]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for text in given:
        for sign, end in ((">=", "min"), ("<=", "max")):
            name, _, number = (part.strip() for part in text.partition(sign))
            try:
                found.setdefault(name, {})[end] = float(number)
                break
            except ValueError:
                continue
        else:
            raise UsageError(f"{text!r} is no criterion.", "Write one like 'roc_auc>=0.7' or 'brier<=0.2'.")
    return found
