"""Pickles of arrays, read without unpickling."""
