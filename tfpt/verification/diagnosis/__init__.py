"""Diagnosis by trial: a cause is proven by changing the model until the endpoint agrees."""

from tfpt.verification.diagnosis.evidence import Sign
from tfpt.verification.diagnosis.repair_loop import explain, faster_form
from tfpt.verification.diagnosis.result import Diagnosis, Explanation, Place

__all__ = ["Diagnosis", "Explanation", "Place", "Sign", "explain", "faster_form"]
