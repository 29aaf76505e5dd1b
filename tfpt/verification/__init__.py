"""Compare both networks on the same input, endpoint by endpoint, and find out why the first one departs.

`compare` has the function that the API exports; `replay` runs the model, unchanged and with TensorFlow's values
substituted; `agreement` defines what counts as the same; `sides` and `recorded_input` prepare the model and its input;
`coverage` counts the rows of tables that the input reaches; `diagnosis` finds the cause by changing the model until it
agrees.
"""

from tfpt.verification.compare import Closeup, Verification, verify

__all__ = ["Closeup", "Verification", "verify"]
