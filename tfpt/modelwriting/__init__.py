"""Writes a PyTorch module and its mapping from a Keras model's configuration, and proves that they compute the same."""
