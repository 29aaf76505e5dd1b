"""Planning: mapping × checkpoint names × model parameters → Plan(steps, findings). No weights are read."""

from tfpt.planning.findings import KINDS, Finding
from tfpt.planning.plan import Plan, PlanError
from tfpt.planning.planner import make_plan
from tfpt.planning.serialization import PlanFormatError
from tfpt.planning.steps import Copy, Fill, Keep, Step

__all__ = [
    "KINDS",
    "Copy",
    "Fill",
    "Finding",
    "Keep",
    "Plan",
    "PlanError",
    "PlanFormatError",
    "Step",
    "make_plan",
]
