"""The reader of TensorFlow.js models."""
