"""Checks that each module pads and normalizes as its mapping says TensorFlow did.

`layers` compares a layer's settings with a padding rule, `observed_padding` records what layers do while a model runs
(following tensors with `input_origins`), `runs` decides which runs to make, and `check` reports findings or adapts the
model.
"""

from tfpt.networks.behavior.check import adapt_model, check_behavior

__all__ = ["adapt_model", "check_behavior"]
