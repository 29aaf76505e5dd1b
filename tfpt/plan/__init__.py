"""Planning: mapping × source names × target specs → Plan(steps, findings). No weight is read here."""

from tfpt.plan.findings import KINDS, Finding
from tfpt.plan.plan import Plan, PlanError, Step
from tfpt.plan.planner import make_plan

__all__ = ["KINDS", "Finding", "Plan", "PlanError", "Step", "make_plan"]
