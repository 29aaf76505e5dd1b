"""Runs TensorFlow networks of every format on given inputs and returns the values of any named activation."""
