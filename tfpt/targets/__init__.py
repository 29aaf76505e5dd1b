"""The parameters that a mapping writes: from its manifest, or from the PyTorch model."""
