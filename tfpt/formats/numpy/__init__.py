"""Readers of numpy files."""
