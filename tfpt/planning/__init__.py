"""Planning: mapping × source names × target specs → Plan(steps, findings). No weight is read here."""

from tfpt.planning.findings import KINDS, Finding
from tfpt.planning.plan import Plan, PlanError, Step
from tfpt.planning.planner import make_plan

__all__ = ["KINDS", "Finding", "Plan", "PlanError", "Step", "make_plan"]
