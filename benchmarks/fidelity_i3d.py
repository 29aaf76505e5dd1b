"""How closely converted I3D weights reproduce what DeepMind's own graph computed with the same weights.

    python benchmarks/fidelity_i3d.py

For each recording in tests/data/i3d: the seeded checkpoint is written, converted by `tfpt.convert`, loaded by
`tfpt.load`, and run on the recorded clip. Prints the largest difference in the logits and in the activations, each
relative to the largest value of the tensor.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import tfpt  # noqa: E402
from tests.models.deepmind_i3d import channels_first, channels_last, seeded, seeded_clip  # noqa: E402
from tfpt.execution.samples import sample_specs  # noqa: E402
from tfpt.execution.sinks.bundle import write_bundle  # noqa: E402
from tfpt.targets.manifest import target_specs  # noqa: E402

RECORDINGS = (
    ("rgb_f16_seed11", "i3d_rgb", 16, 3, 11),
    ("rgb_f17_seed11", "i3d_rgb", 17, 3, 11),
    ("flow_f16_seed12", "i3d_flow", 16, 2, 12),
)


def converted_model(name: str, seed: int, folder: str) -> torch.nn.Module:
    """The model of a mapping with seeded weights, loaded from a converted checkpoint."""
    mapping = tfpt.load_mapping(name)
    variables = sample_specs(mapping, target_specs(mapping))
    checkpoint = f"{folder}/{name}-{seed}/model.ckpt"
    write_bundle(checkpoint, {spec.name: seeded(spec.name, spec.shape, seed) for spec in variables.values()})
    out = f"{folder}/{name}-{seed}.safetensors"
    tfpt.convert(name, checkpoint, out, overwrite=True)
    return tfpt.load(name, out)


def worst(found: np.ndarray, recorded: np.ndarray) -> float:
    """The largest difference relative to the largest value; of large arrays 997 samples were recorded."""
    samples = (
        found.reshape(-1) if found.size <= 2000 else found.reshape(-1)[:: max(1, found.size // 997)][:997]
    )
    return float(np.abs(samples - recorded.reshape(-1)).max() / np.abs(found).max())


def main() -> None:
    print(f"{'recording':<18} {'logits':>9} {'activations, worst':>20} {'endpoint':<18}")
    with tempfile.TemporaryDirectory() as folder:
        for recording, name, frames, channels, seed in RECORDINGS:
            model = converted_model(name, seed, folder)
            with torch.no_grad():
                found = model.endpoints(channels_first(seeded_clip(frames, channels, seed)))
            recorded = dict(np.load(ROOT / "tests" / "data" / "i3d" / f"{recording}.npz"))
            errors = {
                endpoint: worst(channels_last(found[endpoint.lower()]), values)
                for endpoint, values in recorded.items()
                if "." not in endpoint
            }
            logits = errors.pop("Logits")
            errors.pop("Predictions")  # a softmax, which multiplies the error of the logits by their size
            endpoint = max(errors, key=errors.__getitem__)
            print(f"{recording:<18} {logits:9.1e} {errors[endpoint]:20.1e} {endpoint:<18}")


if __name__ == "__main__":
    main()
