"""Limits on what a file from a stranger may ask for: sizes, counts and depths, each with its reason.

A reader refuses what exceeds one of them. They are far above what real files hold, and low enough that a refusal comes
before the machine is out of memory or patience.
"""

from __future__ import annotations
