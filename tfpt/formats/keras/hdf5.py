"""Any HDF5 file: tells Keras' two layouts apart by what is in them."""

from __future__ import annotations

from tfpt.formats.hdf5.open_file import HDF5File
from tfpt.formats.keras.attributes import names_of
from tfpt.formats.keras.legacy import legacy_source
from tfpt.formats.keras.tensors import HDF5Source, Tensor
from tfpt.formats.keras.weights import is_keras3, weight_tensors
from tfpt.io.storage import open_storage


def open_hdf5(location: str) -> HDF5Source:
    """The tensors of an HDF5 file.

    Of Keras' older format (Keras 1, 2, ``model.save("x.h5")``, transformers' ``tf_model.h5``): see
    `tfpt.formats.keras.legacy`. Of Keras 3's ``.weights.h5``: see `tfpt.formats.keras.weights`. In any other HDF5
    file every dataset is a tensor under its path.

    Raises:
        SourceError: The file is damaged; or it is of a kind that needs h5py, which is missing.
    """
    file = HDF5File(open_storage(location))
    try:
        root = ""
        if names_of(file, "", "layer_names") is None and "model_weights" in file.groups:
            root = "model_weights"
        if names_of(file, root, "layer_names") is not None:
            return legacy_source(location, file, root)
        keras3 = is_keras3(file.datasets)
        tensors = (
            weight_tensors(file)
            if keras3
            else [Tensor(path, each, file) for path, each in file.datasets.items()]
        )
        source = HDF5Source(location, tensors, files=[file])
        source.format = "Keras 3 weights (HDF5)" if keras3 else "HDF5"
        return source
    except BaseException:
        file.close()
        raise
