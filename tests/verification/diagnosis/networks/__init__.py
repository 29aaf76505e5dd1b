"""Networks in Keras and in PyTorch, with the faults by which the diagnosis is measured."""

from tests.verification.diagnosis.networks import recurrent_faults, residual, transformer_faults, unet
from tests.verification.diagnosis.networks.network import Fault, Network, pairs

NETWORKS: list[Network] = [
    residual.NETWORK,
    unet.NETWORK,
    unet.LEGACY,
    *transformer_faults.NETWORKS,
    *recurrent_faults.NETWORKS,
]

__all__ = ["NETWORKS", "Fault", "Network", "pairs"]
