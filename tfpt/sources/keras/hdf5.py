"""Any HDF5 file: tells Keras' two layouts apart by what is in them."""

from __future__ import annotations

from tfpt.sources.keras.attributes import names_of
from tfpt.sources.keras.datasets import list_datasets
from tfpt.sources.keras.legacy import legacy_source
from tfpt.sources.keras.opening import Opened, damage
from tfpt.sources.keras.tensors import HDF5Source, Tensor
from tfpt.sources.keras.weights import is_keras3, weight_tensors
from tfpt.sources.storage import open_storage


def open_hdf5(location: str) -> HDF5Source:
    """The tensors of an HDF5 file.

    Of Keras' older format (Keras 1, 2, ``model.save("x.h5")``, transformers' ``tf_model.h5``): see
    `tfpt.sources.keras.legacy`. Of Keras 3's ``.weights.h5``: see `tfpt.sources.keras.weights`. In any other HDF5
    file every dataset is a tensor under its path.

    Raises:
        SourceError: The file is damaged, or leads elsewhere (`tfpt.sources.keras.datasets`); or h5py is missing.
    """
    opened = Opened(open_storage(location))
    try:
        entries = list_datasets(opened)
        with opened.lock, damage(location, "the file's attributes cannot be read"):
            group = opened.file
            if names_of(opened, group, "layer_names") is None and "model_weights" in group:
                group = group["model_weights"]
            legacy = hasattr(group, "attrs") and names_of(opened, group, "layer_names") is not None
            if legacy:
                return legacy_source(location, opened, group, entries)
        tensors = (
            weight_tensors(opened, entries)
            if is_keras3(entries)
            else [Tensor(path, entry, opened) for path, entry in entries.items()]
        )
        source = HDF5Source(location, tensors)
        source.format = "Keras 3 weights (HDF5)" if is_keras3(entries) else "HDF5"
        return source
    except BaseException:
        opened.close()
        raise
