"""Proposing a mapping for a checkpoint and a model: what goes where, in which layout, and how sure that is."""
