"""Readers of PyTorch weights, for comparing and for the way back."""
