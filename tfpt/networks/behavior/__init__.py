"""Checks that each module computes what its mapping says TensorFlow computed.

`layers` and `transposed` compare a layer's settings with a padding rule, and `operations` those of resizing, local
response normalization and pixel shuffling with TensorFlow's. `observed_padding` records what layers do while a model
runs (following tensors with `input_origins`), and `runs` decides which runs to make. `check` reports findings, and
`adaptation` replaces layers.
"""

from tfpt.networks.behavior.adaptation import adapt_model
from tfpt.networks.behavior.check import check_behavior

__all__ = ["adapt_model", "check_behavior"]
