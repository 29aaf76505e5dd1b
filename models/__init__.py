"""PyTorch models that the bundled mappings fill, one per file."""
