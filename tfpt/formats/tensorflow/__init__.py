"""Readers of what TensorFlow itself writes."""
