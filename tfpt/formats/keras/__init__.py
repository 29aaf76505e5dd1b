"""Readers of what Keras writes: HDF5 files old and new, and .keras archives."""
