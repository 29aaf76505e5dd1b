"""Both networks on the same input, endpoint by endpoint, and why the first departs that does.

`verifying` holds what the API calls; `replay` runs the model, free and with TensorFlow's own values put in; `agreement`
says what counts as the same; `sides` and `refeeding` settle what is compared and what it is fed; `diagnosis` finds the
cause by changing the model until it agrees.
"""

from tfpt.verification.compare import Closeup, Verification, verify

__all__ = ["Closeup", "Verification", "verify"]
