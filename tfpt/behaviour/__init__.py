"""Layers that must behave: does each module pad and normalise as its mapping says TensorFlow did?

`kinds` says which modules are looked at, `rules` what a layer's own numbers come to at every size, `seen` what a model
does while it runs, `runs` which runs show a layer; `checking` makes findings of it, `adapting` mends.
"""

from tfpt.behaviour.adapting import adapt_model
from tfpt.behaviour.checking import check_behaviour

__all__ = ["adapt_model", "check_behaviour"]
