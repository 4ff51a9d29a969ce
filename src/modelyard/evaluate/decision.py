"""From checks to one verdict with its reasons. No I/O.

``block``: a check that the risk level demands has failed, or what it needs is missing; at high and critical risk also where it could
not be decided. ``keep``: nothing is wrong, and the challenger is not shown to be better (or, by the rule, as good). Else ``promote``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from modelyard.evaluate.check import Check
from modelyard.risk import Demand

Verdict = Literal["promote", "keep", "block"]


def decide(checks: Sequence[Check], demand: Demand) -> tuple[Verdict, list[str]]:
    """The verdict, and its reasons as sentences, the strongest first.

    Parameters
    ----------
    checks
        With at least one of the family ``champion``: without it there is nothing to promote on, and that blocks.
    demand
        Of the risk level: families that must pass, and what an undecided check does.
    """
    asked = [check for check in checks if check.family in demand.checks and check.family != "champion"]
    rivals = [check for check in checks if check.family == "champion"]
    bad = {"failed", "unknown"} | ({"inconclusive"} if demand.inconclusive == "block" else set())
    wrong = [check for check in rivals if check.status in ("failed", "unknown")]
    wrong += sorted((check for check in asked if check.status in bad), key=lambda check: check.status != "failed")
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
