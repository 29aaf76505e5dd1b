"""What a mapping writes to: the parameters of a manifest or of the PyTorch model."""
