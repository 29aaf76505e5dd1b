"""Carry out a plan: read, transform and write, in parallel and in bounded memory."""
