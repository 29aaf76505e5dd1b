"""Readers, one format per file, behind one protocol."""
