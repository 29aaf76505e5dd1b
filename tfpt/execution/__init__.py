"""Carrying a plan out: read, transform, write, in parallel and in bounded memory."""
