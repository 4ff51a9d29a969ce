"""From checks to one verdict with its reasons. No I/O.

``block``: a check that the risk level demands has failed, or what it needs is missing; at high and critical risk also where it could
not be decided. ``keep``: nothing is wrong, and the challenger is not shown to be better (or, by the rule, as good). Else ``promote``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from modelyard.evaluate.check import Check
from modelyard.risk import FAMILIES, Demand, Family

Verdict = Literal["promote", "keep", "block"]

#: Without a project there is no risk level: all that is asked counts, and what cannot be decided does not block.
EVERYTHING = Demand(checks=list(FAMILIES), inconclusive="pass", approvers=0)


def counts(family: Family, demand: Demand) -> bool:
    """Whether the verdict depends on a family: on what is demanded, and on the comparison always."""
    return family == "champion" or family in demand.checks


def blocks(check: Check, demand: Demand) -> bool:
    """Whether a check alone makes the verdict ``block``; a comparison that could not be decided makes it ``keep``."""
    undecided = check.status == "inconclusive" and check.family != "champion" and demand.inconclusive == "block"
    return counts(check.family, demand) and (check.status in ("failed", "unknown") or undecided)


def decide(checks: Sequence[Check], demand: Demand) -> tuple[Verdict, list[str]]:
    """The verdict, and its reasons as sentences, the strongest first.

    Parameters
    ----------
    checks
        With at least one of the family ``champion``: without it there is nothing to promote on, and that blocks.
    demand
        Of the risk level: families that must pass, and what an undecided check does.
    """
    rivals = [check for check in checks if check.family == "champion"]
    wrong = [check for check in checks if blocks(check, demand)]
    wrong.sort(key=lambda check: 0 if check.family == "champion" else 1 if check.status == "failed" else 2)
    told = [check.message for check in rivals]
    aside = [check for check in checks if check.status == "failed" and check not in wrong]
    noted = [f"Not demanded at this risk level, but failed: {', '.join(f'{c.family} {c.name}' for c in aside)}."] if aside else []
    if not rivals:
        return "block", [*(check.message for check in wrong), "The challenger was not compared with anything.", *noted]
    if wrong:
        return "block", list(dict.fromkeys([*(check.message for check in wrong), *told])) + noted
    if all(check.status == "passed" for check in rivals):
        return "promote", told + noted
    return "keep", told + noted
