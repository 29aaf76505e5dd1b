"""Layers that must behave: does each module pad and normalize as its mapping says TensorFlow did?

`kinds` says which modules are looked at, `rules` what a layer's own numbers come to at every size, `seen` what a model
does while it runs, `runs` which runs show a layer; `checking` makes findings of it, `adapting` mends.
"""

from tfpt.networks.behavior.adapt import adapt_model
from tfpt.networks.behavior.check import check_behavior

__all__ = ["adapt_model", "check_behavior"]
