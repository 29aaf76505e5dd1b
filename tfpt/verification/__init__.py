"""Compare both networks on the same input, endpoint by endpoint, and find out why the first one departs.

`compare` and `discovery` have the functions that the API exports; `replay` runs the model, unchanged and with
TensorFlow's values substituted; `agreement` defines what counts as the same; `sides` and `recorded_input` prepare the
model and its input; `coverage` counts the rows of tables that the input reaches; `diagnosis` finds the cause by
changing the model until it agrees. `pairing` finds the activations that agree without being told where to look, and
`data_flow` what they depend on.
"""

from tfpt.verification.compare import Closeup, Verification, verify
from tfpt.verification.discovered import Discovery, Place
from tfpt.verification.discovery import discover

__all__ = ["Closeup", "Discovery", "Place", "Verification", "discover", "verify"]
