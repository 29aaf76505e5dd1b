"""PyTorch layers that compute what TensorFlow computes."""
