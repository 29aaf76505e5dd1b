"""tfpt: a declarative translator of TensorFlow weights to PyTorch."""
