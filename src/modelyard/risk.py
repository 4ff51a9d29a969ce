"""Risk: how likely a model does harm, how much, and how much care its releases therefore need. No I/O.

The level is a cell of a 5 x 5 matrix. What each level asks for stands in one table, so that the cost of process fits the risk: a
recommendation that few people see is released by the workflow itself, a price that everybody pays needs two people and all checks.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: Families of checks of evaluate.
Family = Literal["criteria", "champion", "robustness", "leakage", "segments", "readiness", "fairness", "checklist"]
FAMILIES: tuple[Family, ...] = get_args(Family)
Level = Literal["low", "moderate", "high", "critical"]
LEVELS: tuple[Level, ...] = get_args(Level)
PROBABILITIES = ("rare", "unlikely", "possible", "likely", "almost certain")
IMPACTS = ("negligible", "minor", "moderate", "major", "severe")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Demand(_Part):
    """What a risk level asks for."""

    checks: list[Family] = Field(description="Families of checks of evaluate that must pass; the others are only told.")
    inconclusive: Literal["pass", "block"] = Field(description="What a check of these families does that could not be decided.")
    approvers: int = Field(ge=0, description="People who must approve a release; 0: the workflow merges it.")
    independent: bool = Field(False, description="Whether who wrote the training code does not count among them.")
    role: str = Field("", description="Role that one of them must have.")
    retrain: bool = Field(True, description="Whether monitor may start a training by itself; false acts like monitor.approval: required.")
    max_age_days: int | None = Field(None, ge=1, description="Days that a release may live; caps monitor.max_age_days.")

    @property
    def words(self) -> str:
        """Who must approve, as half a sentence."""
        if not self.approvers:
            return "nobody: the workflow merges it"
        people = "1 person" if self.approvers == 1 else f"{self.approvers} people"
        beside = " who did not write the training code" if self.independent else ""
        return f"{people}{beside}" + (f", one of them with the role {self.role!r}" if self.role else "")

    def life(self, wanted: int | None) -> int | None:
        """Days that a release may live: the fewer of what is wanted and what the level allows; None where neither says anything."""
        return min((days for days in (wanted, self.max_age_days) if days is not None), default=None)


def _matrix() -> list[list[Level]]:
    """Probability times impact, each 1 to 5: up to 4 low, up to 9 moderate, up to 16 high, else critical."""
    severities = [[(row + 1) * (column + 1) for column in range(len(IMPACTS))] for row in range(len(PROBABILITIES))]
    return [["low" if s <= 4 else "moderate" if s <= 9 else "high" if s <= 16 else "critical" for s in row] for row in severities]


def _demands() -> dict[Level, Demand]:
    basic: list[Family] = ["criteria", "champion", "robustness", "leakage"]
    more: list[Family] = [*basic, "segments", "readiness"]
    return {
        "low": Demand(checks=basic, inconclusive="pass", approvers=0),
        "moderate": Demand(checks=more, inconclusive="pass", approvers=1),
        "high": Demand(checks=list(FAMILIES), inconclusive="block", approvers=2, independent=True, max_age_days=365),
        "critical": Demand(
            checks=list(FAMILIES), inconclusive="block", approvers=2, independent=True, role="risk", retrain=False, max_age_days=180
        ),
    }


#: What ``risk.level`` said before -> probability and impact that give it.
_FORMERLY = {
    "low": ("possible", "negligible"),
    "medium": ("possible", "minor"),
    "high": ("possible", "major"),
    "critical": ("likely", "severe"),
}


class Risk(_Part):
    """How likely a bad prediction is, and how much harm it does: together the level, which decides how much care a release needs."""

    probability: Literal["rare", "unlikely", "possible", "likely", "almost certain"] = Field(
        "possible", description="How likely it is that the model does harm."
    )
    impact: Literal["negligible", "minor", "moderate", "major", "severe"] = Field("minor", description="How much harm it does then.")
    matrix: list[list[Level]] = Field(
        default_factory=_matrix,
        description="A row per probability, a column per impact, each from least to most; left out: probability times impact.",
    )
    demands: dict[Level, Demand] = Field(
        default_factory=_demands,
        description="What each level asks for; a level that is not named keeps its default: docs/explanation/what-the-matrix-decides.md",
    )
    roles: dict[str, list[str]] = Field(
        default_factory=dict, description="Role -> mail addresses, or names on the forge, of those who have it."
    )
    owner: str = Field("", description="Who answers for the model.")
    purpose: str = Field("", description="What the model is meant for; stands on its card.")

    @model_validator(mode="before")
    @classmethod
    def _say_it_anew(cls, raw: Any) -> Any:
        """Tell who still names a level what to write, and lay the levels that are named over the usual ones."""
        if not isinstance(raw, dict):
            return raw
        if "level" in raw:
            probability, impact = _FORMERLY.get(str(raw["level"]), _FORMERLY["medium"])
            raise ValueError(
                f"the level follows from probability and impact: instead of level: {raw['level']} "
                f"write probability: {probability} and impact: {impact}"
            )
        given = raw.get("demands")
        return {**raw, "demands": {**_demands(), **given}} if isinstance(given, dict) else raw

    @model_validator(mode="after")
    def _is_whole(self) -> Risk:
        if [len(row) for row in self.matrix] != [len(IMPACTS)] * len(PROBABILITIES):
            raise ValueError(f"matrix: {len(PROBABILITIES)} rows of {len(IMPACTS)} levels are needed")
        for level, demand in self.demands.items():
            if demand.role and not demand.approvers:
                raise ValueError(f"demands.{level}: nobody approves, so nobody can have the role {demand.role!r}")
        return self

    @property
    def level(self) -> Level:
        """What the matrix says."""
        return self.matrix[PROBABILITIES.index(self.probability)][IMPACTS.index(self.impact)]

    @property
    def demand(self) -> Demand:
        """What the level asks for."""
        return self.demands[self.level]
