"""Made the files beside it, with flax 0.12.8, jax 0.10.2 and joblib 1.6.0: python make.py"""

import pickle
from pathlib import Path

import flax.serialization
import jax.numpy as jnp
import joblib
import ml_dtypes
import numpy as np
from flax.core import freeze

HERE = Path(__file__).parent

state = {
    "params": {
        "dense": {
            "kernel": np.arange(15, dtype=np.float32).reshape(3, 5) / 7,
            "bias": jnp.arange(5, dtype=jnp.bfloat16) / 3,
        }
    },
    "opt_state": {"0": {"count": np.int32(3), "mu": {"dense": {"bias": jnp.ones(5)}}}},
    "step": 7,
    "rate": 0.5,
    "complex": 1 + 2j,
    "array of complex": np.array([1 + 2j], np.complex64),
    "scalar": np.float16(3.5),
    "flag": True,
    "none": None,
    "note": "hello",
    "float8": np.arange(6).astype(ml_dtypes.float8_e4m3fn),
    "empty": np.zeros((0, 3), np.float64),
}
(HERE / "state.msgpack").write_bytes(flax.serialization.msgpack_serialize(state))

flax.serialization.MAX_CHUNK_SIZE = 40
chunked = {
    "w": np.arange(77, dtype=np.float32).reshape(7, 11),
    "deep": {"b": jnp.arange(35, dtype=jnp.bfloat16).reshape(5, 7)},
}
(HERE / "chunked.msgpack").write_bytes(flax.serialization.msgpack_serialize(chunked))

for protocol in (2, 4):
    (HERE / f"jax{protocol}.pkl").write_bytes(pickle.dumps(freeze(state), protocol))

tree = {
    "fortran": np.asfortranarray(np.arange(15.0).reshape(3, 5)),
    "nested": [np.arange(7, dtype=">i4"), (1, np.zeros(0), np.float32(2))],
    "objects": np.array([np.ones(2), "x"], object),
    "last": np.arange(3),
}
for name, compress in {
    "plain": 0,
    "zlib": 3,
    "gzip": ("gzip", 3),
    "bz2": ("bz2", 3),
    "xz": ("xz", 3),
}.items():
    joblib.dump(tree, HERE / f"{name}.joblib", compress=compress)
