"""TensorFlow networks of every format, run on given inputs, with the values of any activation that has a name."""
