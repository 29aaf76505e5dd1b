"""Readers of TensorFlow's own formats."""
