"""Networks on both sides: PyTorch models with weights, their endpoints and inputs, and TensorFlow networks."""
