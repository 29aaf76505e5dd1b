"""Readers of Keras' files: HDF5 of both layouts, and .keras archives."""
