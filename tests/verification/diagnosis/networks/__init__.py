"""Networks in Keras and in PyTorch, with the faults by which the diagnosis is measured."""

from tests.verification.diagnosis.networks import (
    inception,
    recurrent_faults,
    residual_faults,
    transformer_faults,
    unet_faults,
    volume,
)
from tests.verification.diagnosis.networks.network import Fault, Network, pairs

NETWORKS: list[Network] = [
    inception.NETWORK,
    residual_faults.NETWORK,
    unet_faults.NETWORK,
    unet_faults.LEGACY,
    volume.NETWORK,
    *transformer_faults.NETWORKS,
    *recurrent_faults.NETWORKS,
]

__all__ = ["NETWORKS", "Fault", "Network", "pairs"]
