"""The public functions: signatures, documentation and examples; the work is done in the packages.

Importing this module imports neither numpy nor torch: each function imports its implementation when it is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tfpt.checking.comparison import Diff
    from tfpt.checking.inspection import Inspection
    from tfpt.execution.jobs import Conversion
    from tfpt.formats import Source
    from tfpt.language import mapping as rows
    from tfpt.modelwriting.writing import WrittenModel
    from tfpt.networks.recording import Recording
    from tfpt.networks.recording.inputs import Given
    from tfpt.planning import Plan
    from tfpt.profiling import Profile
    from tfpt.proposal.proposal import Proposal
    from tfpt.verification import Discovery, Verification
    from tfpt.video.prediction import Prediction, Stream
    from tfpt.video.visualization import Drawing


def convert(
    mapping: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    workers: int | None = None,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    dtype: str | None = None,
    trust: bool = False,
    use_model: bool = True,
    verify_checksums: bool = True,
    dequantize: bool = False,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Conversion:
    """Translate a checkpoint into a file of PyTorch weights.

    Args:
        mapping: The name of a mapping (see `tfpt mappings`), or the path of its file.
        checkpoint: A checkpoint's prefix, any of its files, or its folder; a path or a URL. For a mapping that declares
            `source.files`, a dict with a path for each. By default, the one at the mapping's `source.url`, downloaded
            into the cache.
        out: A `.safetensors`, `.pth` or `.pt` file. By default, the mapping's name with `.safetensors`.
        overwrite: Replace the file if it exists.
        workers: Number of threads. By default, one per core, at most eight.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        dtype: Write floating-point parameters in this dtype instead of the model's.
        trust: If a model has to be built, import it even from outside the trusted packages.
        use_model: Whether to compare the rows with the manifest or the model. Otherwise parameters have the names and
            shapes that the rows give and the dtypes of the variables, and nothing about the PyTorch side is checked.
        verify_checksums: Whether to check each tensor against its checksum when it is read.
        dequantize: Convert quantized weights to the float32 values that they represent.
        progress: Called while a published checkpoint is downloaded, with the file, the bytes so far, and the total
            if known.

    Raises:
        PlanError: The mapping does not fit the checkpoint, and nothing was written. The text groups the findings;
            `findings` has each of them.
        TfptError: Something cannot be read or written. The output is unchanged unless the message says otherwise.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = sample("i3d_flow", f"{folder}/model.ckpt")
        >>> done = convert("i3d_flow", f"{folder}/model.ckpt", f"{folder}/flow.safetensors")
        >>> len(done.plan.writes), done.path.name
        (344, 'flow.safetensors')
    """
    from tfpt.execution.jobs import convert as implementation

    return implementation(
        mapping,
        checkpoint,
        out,
        overwrite=overwrite,
        workers=workers,
        settings=settings,
        config=config,
        dtype=dtype,
        trust=trust,
        use_model=use_model,
        verify_checksums=verify_checksums,
        dequantize=dequantize,
        progress=progress,
    )


def plan(
    mapping: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    dtype: str | None = None,
    trust: bool = False,
    use_model: bool = True,
    dequantize: bool = False,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Plan:
    """Plan what `convert` would do and report every finding; only the checkpoint's index is read.

    Args:
        mapping: The name of a mapping (see `tfpt mappings`), or the path of its file.
        checkpoint: A checkpoint's prefix, any of its files, or its folder; a path or a URL. For a mapping that declares
            `source.files`, a dict with a path for each. By default, the one at the
            mapping's `source.url`; of a TensorFlow checkpoint only the index is downloaded.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        dtype: Write floating-point parameters in this dtype instead of the model's.
        trust: If a model has to be built, import it even from outside the trusted packages.
        use_model: Whether to compare the rows with the manifest or the model. Otherwise parameters have the names and
            shapes that the rows give and the dtypes of the variables, and nothing about the PyTorch side is checked.
        dequantize: Convert quantized weights to the float32 values that they represent.
        progress: Called while a published checkpoint is downloaded, with the file, the bytes so far, and the total
            if known.

    Raises:
        TfptError: The mapping, the checkpoint or the model cannot be read. Findings are in the plan, not raised.

    Example:
        >>> import tempfile
        >>> checkpoint = f"{tempfile.mkdtemp()}/model.ckpt"
        >>> _ = sample("i3d_rgb", checkpoint)
        >>> found = plan("i3d_flow", checkpoint)
        >>> found.ok, found.findings[0].kind
        (False, 'scope')
    """
    from tfpt.execution.jobs import plan as implementation

    return implementation(
        mapping,
        checkpoint,
        settings=settings,
        config=config,
        dtype=dtype,
        trust=trust,
        use_model=use_model,
        dequantize=dequantize,
        progress=progress,
    )


def sample(
    mapping: str | os.PathLike[str],
    prefix: str | os.PathLike[str],
    *,
    seed: int = 0,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    trust: bool = False,
) -> int:
    """Write a TensorFlow checkpoint of random weights that fits a mapping.

    Args:
        mapping: The name of a mapping (see `tfpt mappings`), or the path of its file.
        prefix: The checkpoint's prefix; its folder is created if necessary.
        seed: The same seed gives the same values.
        overwrite: Replace an existing checkpoint.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        trust: If a model has to be built, import it even from outside the trusted packages.

    Returns:
        The number of variables written.

    Raises:
        TfptError: The mapping does not determine the shapes of its variables, or the checkpoint exists or cannot be
            written.

    Example:
        >>> import tempfile
        >>> sample("i3d_rgb", f"{tempfile.mkdtemp()}/model.ckpt", seed=7)
        230
    """
    from tfpt.execution.jobs import sample as implementation

    return implementation(
        mapping,
        prefix,
        seed=seed,
        overwrite=overwrite,
        settings=settings,
        config=config,
        trust=trust,
    )


def diff(
    left: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
    right: str | os.PathLike[str] | None = None,
    *,
    mapping: str | os.PathLike[str] | None = None,
    tolerance: float = 0.0,
    verify_checksums: bool = True,
    dequantize: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    trust: bool = False,
    use_model: bool = True,
    histograms: bool = False,
) -> Diff:
    """Compare two files, through a mapping or name by name.

    Args:
        left: A TensorFlow checkpoint; without a mapping, any file.
        right: A file of PyTorch weights; without a mapping, a file of the same kind as `left`. If omitted, only names,
            shapes and dtypes are compared, which requires a mapping.
        mapping: The name of a mapping (see `tfpt mappings`), or the path of its file.
        tolerance: The relative difference up to which two tensors count as equal.
        verify_checksums: Whether to check each tensor against its checksum when it is read.
        dequantize: Convert quantized weights to the float32 values that they represent.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        trust: If a model has to be built, import it even from outside the trusted packages.
        use_model: Whether to compare the rows with the manifest or the model. Otherwise parameters have the names and
            shapes that the rows give and the dtypes of the variables, and nothing about the PyTorch side is checked.
        histograms: Also count the values of each compared tensor, for a page.

    Raises:
        TfptError: A file cannot be read, the two are of different kinds, or a mapping is required and missing.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> for seed in (1, 2):
        ...     _ = sample("i3d_flow", f"{folder}/{seed}.ckpt", seed=seed)
        >>> result = diff(f"{folder}/1.ckpt", f"{folder}/2.ckpt")
        >>> result.same, len(result.different), result.findings
        (False, 230, ())
    """
    from tfpt.checking.comparison import diff as implementation

    return implementation(
        left,
        right,
        mapping=mapping,
        tolerance=tolerance,
        verify_checksums=verify_checksums,
        dequantize=dequantize,
        settings=settings,
        config=config,
        trust=trust,
        use_model=use_model,
        histograms=histograms,
    )


def inspect(
    path: str | os.PathLike[str],
    *,
    grep: str | None = None,
    stats: bool = False,
    dequantize: bool = False,
    names: Literal["readable", "path", "keras"] = "readable",
    order: Literal["name", "file"] = "name",
) -> Inspection:
    """List what a file contains. Values are only read if `stats` is set.

    Args:
        path: Any file that `tfpt.open_source` can open.
        grep: Only list tensors whose name matches this regular expression (anywhere in the name).
        stats: Also read the values and compute statistics.
        dequantize: Convert quantized weights to the float32 values that they represent.
        names: What tensors are called, as in `open_source`.
        order: ``file`` for the order in which the tensors were created, which not every file keeps.

    Raises:
        TfptError: The file does not keep that order, or `grep` is not a regular expression.

    Example:
        >>> import tempfile
        >>> checkpoint = f"{tempfile.mkdtemp()}/model.ckpt"
        >>> _ = sample("i3d_rgb", checkpoint)
        >>> inspect(checkpoint, grep="Logits").by_dtype
        {'float32': (2, 1640000)}
    """
    from tfpt.checking.inspection import inspect as implementation

    return implementation(
        path,
        grep=grep,
        stats=stats,
        dequantize=dequantize,
        names=names,
        order=order,
    )


def load(
    mapping: str | os.PathLike[str],
    path: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
    *,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    dequantize: bool = False,
    adapt: bool = False,
    trust: bool = False,
    device: str = "cpu",
    optimize: bool = False,
    check: bool = True,
) -> torch.nn.Module:
    """Build a mapping's model, check the behavior of its layers, and load the weights.

    Args:
        mapping: The name of a mapping (see `tfpt mappings`), or the path of its file.
        path: A TensorFlow checkpoint, translated in memory, or a `.safetensors`, `.pth` or `.pt` file.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        dequantize: Convert quantized weights to the float32 values that they represent.
        adapt: Replace stock torch layers that do not pad as TensorFlow does with those of `tfpt.nn`.
        trust: Import the model even if it is from outside the trusted packages.
        device: The device to put the model on.
        optimize: Return the faster form of the model, for inference only; see `tfpt.optimize`.
        check: Reject a model whose layers contradict the mapping. ``False`` loads it anyway, so that `tfpt.verify` can
            show what it computes.

    Returns:
        The model, in evaluation mode.

    Raises:
        PlanError: The mapping does not fit the checkpoint.
        ModelError: The weights do not belong to the model, or a layer contradicts the mapping.
        DtypeError: The dtype of one of the model's parameters cannot represent its values.

    Example:
        >>> import tempfile
        >>> checkpoint = f"{tempfile.mkdtemp()}/model.ckpt"
        >>> _ = sample("i3d_flow", checkpoint)
        >>> model = load("i3d_flow", checkpoint)
        >>> model.conv3d_1a_7x7.conv3d.weight.shape
        torch.Size([64, 2, 7, 7, 7])
    """
    from tfpt.networks.loading import load as implementation

    return implementation(
        mapping,
        path,
        settings=settings,
        config=config,
        dequantize=dequantize,
        adapt=adapt,
        trust=trust,
        device=device,
        optimize=optimize,
        check=check,
    )


def load_mapping(
    name: str | Path,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
) -> rows.Mapping:
    """Read and compile a mapping. Nothing is imported and no code runs.

    Args:
        name: The name of a mapping (see `tfpt mappings`), or the path of its file.
        settings: Values for the mapping's parameters (`--set`).
        config: The configuration that came with the checkpoint, as a dict or a JSON file (`--config`).

    Raises:
        MappingError: The mapping is invalid. Gives file, line and column, and all independent mistakes at once.

    Example:
        >>> mapping = load_mapping("i3d_rgb")
        >>> mapping.model.factory
        'tfpt.models.i3d:I3D'
    """
    from tfpt.language.loader import load_mapping as implementation

    return implementation(
        name,
        settings,
        config,
    )


def open_source(
    path: str | os.PathLike[str],
    *,
    verify_checksums: bool = True,
    dequantize: bool = False,
    names: Literal["readable", "path", "keras"] = "readable",
) -> Source:
    """Open a checkpoint or weights file. The format is detected from the content, not the name.

    Args:
        path: A path, or a URL that fsspec supports: a checkpoint's prefix, any of its files, or its folder; a
            SavedModel; a graph; a Keras, TensorFlow Lite, numpy, JAX or PyTorch file, or a folder or archive with one.
        verify_checksums: Whether to check each tensor against the checksum in the file, if there is one.
        dequantize: Convert quantized weights to the float32 values that they represent, if the file has their scales.
        names: What tensors are called: by their readable name, by their path in the file, or by layer and weight, the
            same for every file of a Keras model; see `tfpt.formats.renamed`.

    Raises:
        SourceError: The file does not exist, has an unknown format, or is damaged. The returned source raises no other
            error either.

    Example:
        >>> import tempfile
        >>> checkpoint = f"{tempfile.mkdtemp()}/model.ckpt"
        >>> _ = sample("i3d_flow", checkpoint)
        >>> source = open_source(checkpoint)
        >>> source.format, len(source.specs)
        ('TensorFlow V2 checkpoint', 230)
    """
    from tfpt.formats import open_source as implementation

    return implementation(
        path,
        verify_checksums=verify_checksums,
        dequantize=dequantize,
        names=names,
    )


def optimize(model: nn.Module) -> nn.Module:
    """Return a faster copy of the model, for inference only.

    Batch norms are folded into the convolutions before them, and layers of `tfpt.nn` are replaced by faster ones of
    torch where these compute the same up to rounding. Outputs agree up to rounding (1e-6 of the largest), not bit for
    bit. Parameters are frozen and their names change. Modules keep their paths, except inside a folded module. On a
    CPU, activations are kept in the channels-last format.

    Args:
        model: The model, with every module in evaluation mode: folding uses the current running statistics.

    Raises:
        ModelError: A module is in training mode, or has uninitialized (lazy) parameters.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()).eval()
        >>> faster, x = optimize(model), torch.randn(1, 3, 7, 7)
        >>> faster
        Sequential(
          (0): FoldedConv(3, 5, kernel_size=(3, 3), stride=(1, 1), padding=(0, 0), relu=True)
          (1): Identity()
          (2): Identity()
        )
        >>> torch.testing.assert_close(faster(x), model(x).detach())
    """
    from tfpt.networks.optimization import optimize as implementation

    return implementation(
        model,
    )


def record(
    mapping: str | os.PathLike[str] | None,
    network: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    inputs: Given | Mapping[str, Given] | None = None,
    seed: int = 0,
    frames: int | None = None,
    batch: int | None = None,
    size: int | None = None,
    whole: bool = False,
    store_input: bool = True,
    endpoints: Sequence[str] | None = None,
    all_layers: bool = False,
    feeds: Mapping[str, Any] | None = None,
    signature: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    trust: bool = False,
    overwrite: bool = False,
) -> Recording:
    """Run a TensorFlow network in inference mode and record its activations.

    Args:
        mapping: A name or a path; its `endpoints` are recorded. ``None`` with `endpoints` or `all_layers`.
        network: The path of a ``.meta`` file or of the checkpoint next to it, of a SavedModel, a frozen graph or a
            Keras model; or a ``keras.Model`` object.
        out: The ``.npz`` file to write, if any.
        checkpoint: The checkpoint with the graph's variables, if it is not next to the graph.
        inputs: The input, in TensorFlow's layout: a ``.npy`` or ``.npz`` file or an array, or a dict of them by input
            name. By default, random values from the seed.
        seed: Seed of the random input.
        frames, batch, size: Sizes of a random input. By default, those of the network or the mapping, else 16 frames
            and a batch of 1.
        whole: Store every value of every activation, instead of samples of those with more than 2,000 values.
        store_input: Store the input in the recording. If not stored, a random input can be regenerated from the facts.
        endpoints: Operations, name scopes or layers to record; with a mapping, also names of its endpoints.
        all_layers: Record every layer of a Keras model that runs, or everything that a graph computes.
        feeds: Values for other tensors, such as ``{"keep_prob": 1.0}``: numbers, arrays or files.
        signature: The signature of a SavedModel to run.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        trust: Allow the mapping's model or a Keras model to run its own code.
        overwrite: Replace an existing output file.

    Returns:
        The recording, in the order of the endpoints.

    Raises:
        SourceError: The network cannot be run, has no such operation, or takes a different input.
        MappingError: The mapping cannot be read, or does not match the network's input.
        SinkError: The output cannot be written.

    Example:
        >>> import keras, tempfile
        >>> x = keras.Input((5,))
        >>> model = keras.Model(x, keras.layers.Dense(3, name="head")(x))
        >>> recording = record(None, model, endpoints=["head"], seed=7)
        >>> recording.endpoints["head"].shape, recording.inputs["input"].shape
        ((1, 3), (1, 5))
    """
    from tfpt.networks.recording import record as implementation

    return implementation(
        mapping,
        network,
        out,
        checkpoint=checkpoint,
        inputs=inputs,
        seed=seed,
        frames=frames,
        batch=batch,
        size=size,
        whole=whole,
        store_input=store_input,
        endpoints=endpoints,
        all_layers=all_layers,
        feeds=feeds,
        signature=signature,
        settings=settings,
        config=config,
        trust=trust,
        overwrite=overwrite,
    )


def verify(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    recording: str | os.PathLike[str] | Recording | None = None,
    *,
    network: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    inputs: Given | Mapping[str, Given] | None = None,
    model: nn.Module | None = None,
    tolerance: float | None = None,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    dequantize: bool = False,
    trust: bool = False,
    adapt: bool = False,
    optimize: bool = False,
    device: str | None = None,
    dtype: str | None = None,
    diagnose: bool = True,
    seconds: float = 60.0,
    seed: int | None = None,
    frames: int | None = None,
    batch: int | None = None,
    size: int | None = None,
    whole: bool = False,
    endpoints: Sequence[str] | None = None,
    all_layers: bool = False,
    feeds: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> Verification:
    """Run a mapping's model on the input of the TensorFlow network, and compare the two at every endpoint.

    An endpoint agrees if the norm of the difference is at most `tolerance` times the recorded norm, and the largest
    difference at most ten times `tolerance` times the largest recorded value. The model is built even if its layers
    contradict the mapping; contradictions are reported with the results.

    Args:
        mapping: The name of a mapping (see `tfpt mappings`), or the path of its file.
        weights: Any file that `tfpt.load` reads: a TensorFlow checkpoint, or a converted file. If omitted with
            `network`, both sides use the same checkpoint.
        recording: The activations computed by TensorFlow: a file, or a `Recording`.
        network: Instead of a recording, the TensorFlow network to run; see `tfpt.record`. Requires TensorFlow.
        checkpoint: The checkpoint with that network's variables, if it is not next to the network.
        inputs: The input of the TensorFlow network, in its layout, if the recording does not contain it; with
            `network`, the input of both.
        model: A model with its weights, instead of `weights`. It is not modified.
        tolerance: The relative difference up to which two activations count as equal. By default 1e-5; for a model in
            float16 7.8e-3 and in bfloat16 6.3e-2, 16 times their rounding error.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        dequantize: Convert quantized weights to the float32 values that they represent.
        trust: Import the model even if it is from outside the trusted packages.
        adapt: First replace stock torch layers that do not pad as TensorFlow does with those of `tfpt.nn`.
        optimize: Run the faster form of the model.
        device: The device to run the model on. By default, the one it is on, or the CPU.
        dtype: The floating-point dtype to run the model in, such as ``"float64"``. By default, that of the weights.
        diagnose: Search for the cause of differences.
        seconds: Time limit of that search; no new trial starts after it.
        seed, frames, batch, size, whole, endpoints, all_layers, feeds, signature: With `network`, what to record and on
            which input, as for `tfpt.record`.

    Raises:
        PlanError: The mapping does not fit the weights.
        SourceError: The recording or the weights cannot be read, or the input is missing.
        ModelError: The model rejects the input, or has no endpoint in common with the recording.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from tfpt.networks.recording import RecordedEndpoint, Recording
        >>> from tfpt.targets.model import build_model
        >>> model = build_model(load_mapping("i3d_rgb"), device="cpu")
        >>> clip = np.zeros((1, 9, 193, 193, 3), np.float32)
        >>> found = torch.relu(model.endpoints(torch.from_numpy(clip).movedim(-1, 1), ["mixed_3b"])["mixed_3b"])
        >>> recorded = RecordedEndpoint.of("Mixed_3b", found.detach().movedim(1, -1).numpy())
        >>> result = verify("i3d_rgb", recording=Recording({"Mixed_3b": recorded}, {"input": clip}), model=model)
        >>> result.agrees, [one.name for one in result.endpoints if one.verdict == "agrees"]
        (True, ['Mixed_3b'])
    """
    from tfpt.verification import verify as implementation

    return implementation(
        mapping,
        weights,
        recording,
        network=network,
        checkpoint=checkpoint,
        inputs=inputs,
        model=model,
        tolerance=tolerance,
        settings=settings,
        config=config,
        dequantize=dequantize,
        trust=trust,
        adapt=adapt,
        optimize=optimize,
        device=device,
        dtype=dtype,
        diagnose=diagnose,
        seconds=seconds,
        seed=seed,
        frames=frames,
        batch=batch,
        size=size,
        whole=whole,
        endpoints=endpoints,
        all_layers=all_layers,
        feeds=feeds,
        signature=signature,
    )


def discover(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    recording: str | os.PathLike[str] | Recording | None = None,
    *,
    network: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    inputs: Given | Mapping[str, Given] | None = None,
    model: nn.Module | None = None,
    tolerance: float | None = None,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    dequantize: bool = False,
    trust: bool = False,
    adapt: bool = False,
    device: str | None = None,
    dtype: str | None = None,
    seed: int | None = None,
    frames: int | None = None,
    batch: int | None = None,
    size: int | None = None,
    whole: bool = False,
    feeds: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> Discovery:
    """Run both networks on one input, and find which activations they share, without the mapping's endpoints.

    Two activations agree as in `verify`, in any order of their axes, perhaps without axes of size 1, or after a
    function (relu, sigmoid, tanh, softmax) that only TensorFlow's layer contains. The result has the `endpoints:` of
    the mapping, and the first modules whose outputs are like nothing that TensorFlow computed.

    Args:
        mapping: The name of a bundled mapping, or the path of a mapping file; it needs no endpoints.
        weights: Any file that `tfpt.load` reads: a TensorFlow checkpoint, or a converted file. If omitted with
            `network`, both sides use the same checkpoint.
        recording: The activations computed by TensorFlow: a file, or a `Recording`; best of all layers.
        network: Instead of a recording, the TensorFlow network to run; everything it computes is compared.
        checkpoint: The checkpoint with that network's variables, if it is not next to the network.
        inputs: The input of the TensorFlow network, in its layout, if the recording does not contain it; with
            `network`, the input of both.
        model: A model with its weights, instead of `weights`. It is not modified.
        tolerance: The relative difference up to which two activations count as equal. By default 1e-5; for a model in
            float16 7.8e-3 and in bfloat16 6.3e-2, 16 times their rounding error.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        dequantize: Convert quantized weights to the float32 values that they represent.
        trust: Import the model even if it is from outside the trusted packages.
        adapt: First replace stock torch layers that do not pad as TensorFlow does with those of `tfpt.nn`.
        device: The device to run the model on. By default, the one it is on, or the CPU.
        dtype: The floating-point dtype to run the model in, such as ``"float64"``. By default, that of the weights.
        seed, frames, batch, size, whole, feeds, signature: With `network`, on which input to run it, as for
            `tfpt.record`.

    Raises:
        PlanError: The mapping does not fit the weights.
        SourceError: The recording or the weights cannot be read, or the input is missing.
        ModelError: The model rejects the input.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from tfpt.networks.recording import RecordedEndpoint, Recording
        >>> from tfpt.targets.model import build_model
        >>> model = build_model(load_mapping("i3d_rgb"), device="cpu")
        >>> clip = np.random.default_rng(0).random((1, 9, 193, 193, 3), np.float32)
        >>> found = model.conv3d_1a_7x7(torch.from_numpy(clip).movedim(-1, 1)).detach().movedim(1, -1).numpy()
        >>> recording = Recording({"Conv3d_1a_7x7": RecordedEndpoint.of("Conv3d_1a_7x7", found)}, {"input": clip})
        >>> print(discover("i3d_rgb", recording=recording, model=model).rows)
        endpoints:
          - {tf: Conv3d_1a_7x7, pt: conv3d_1a_7x7, layout: "b t h w c -> b c t h w"}
    """
    from tfpt.verification import discover as implementation

    return implementation(
        mapping,
        weights,
        recording,
        network=network,
        checkpoint=checkpoint,
        inputs=inputs,
        model=model,
        tolerance=tolerance,
        settings=settings,
        config=config,
        dequantize=dequantize,
        trust=trust,
        adapt=adapt,
        device=device,
        dtype=dtype,
        seed=seed,
        frames=frames,
        batch=batch,
        size=size,
        whole=whole,
        feeds=feeds,
        signature=signature,
    )


def predict(
    streams: Stream | Sequence[Stream],
    clip: str | os.PathLike[str] | None = None,
    *,
    top: int = 20,
    window: int | None = None,
    stride: int | None = None,
    loop: bool = False,
    batch: int = 1,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    optimize: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    dequantize: bool = False,
    trust: bool = False,
    check: bool = True,
    save: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    fetching: Callable[[str, int, int | None], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Prediction:
    """Classify a clip with one network, or with several whose logits are added, as in two-stream networks.

    A clip is a video, an animated GIF, a folder of pictures, or a ``.npy`` file of (1, frames, height, width,
    channels): uint8 pictures, or floats in the network's range. `tfpt.video.clips` prepares it. Logits are averaged
    over windows and added over streams.

    Args:
        streams: The network, or the networks.
        clip: The clip for all streams without a clip of their own.
        top: How many of the most likely classes to list.
        window: Frames per window. By default, a clip of up to 300 frames is one window; a longer one is cut into
            windows of 64.
        stride: Frames from the start of one window to the start of the next. By default, the length of a window.
        loop: Repeat a clip that is shorter than a window until it fills the window.
        batch: Windows to run at once.
        fps: Frame rate of the clips, instead of the rate in the files.
        start, end: The part of the clips to classify, in seconds.
        device: The device to run the networks on.
        dtype: The dtype to run the networks in: float32, float64, bfloat16 or float16.
        optimize: Run the faster form of the networks.
        settings, config, dequantize, trust: As for `tfpt.load`, for all streams.
        check: Reject networks whose layers contradict their mappings.
        save: A folder to write the prepared clips to, as ``MAPPING.npy`` for each stream.
        overwrite: Replace existing files in that folder.
        fetching: Called while a published checkpoint is downloaded, with the file, the bytes so far, and the total
            if known.
        progress: Called after each batch, with the stream's mapping, the frames read and the windows run.

    Raises:
        TfptError: A file cannot be read, the streams are incompatible, or the clip is too short for the network.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from tfpt.video.prediction import Stream
        >>> folder = tempfile.mkdtemp()
        >>> _ = sample("i3d_flow", f"{folder}/model.ckpt")
        >>> np.save(f"{folder}/clip.npy", np.zeros((1, 9, 224, 224, 2), np.float32))
        >>> found = predict(Stream("i3d_flow", f"{folder}/model.ckpt"), f"{folder}/clip.npy", top=3)
        >>> found.streams[0].frames, found.scores.logits.shape, len(found.scores.top)
        (9, (400,), 3)
    """
    from tfpt.video.prediction import predict as implementation

    return implementation(
        streams,
        clip,
        top=top,
        window=window,
        stride=stride,
        loop=loop,
        batch=batch,
        fps=fps,
        start=start,
        end=end,
        device=device,
        dtype=dtype,
        optimize=optimize,
        settings=settings,
        config=config,
        dequantize=dequantize,
        trust=trust,
        check=check,
        save=save,
        overwrite=overwrite,
        fetching=fetching,
        progress=progress,
    )


def profile(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    frames: int = 16,
    batch: int = 2,
    size: int | None = None,
    channels: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    compile: bool = False,  # noqa: A002
    compile_backend: str = "inductor",
    channels_last: bool = False,
    optimize: bool = False,
    train: bool | Literal["both"] | None = None,
    threads: int | None = None,
    repeats: int | None = None,
    warmup: int = 2,
    trace: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    dequantize: bool = False,
    trust: bool = False,
    model: nn.Module | None = None,
) -> Profile:
    """Measure the time and memory of a mapping's model: a forward pass, and a training step.

    Args:
        mapping: A name or a path. It defines the network's input, unless the model starts with an embedding:
            that is fed rows of its table, int64 of (batch, frames).
        weights: Any file that `tfpt.load` reads. By default, random weights, which take the same time.
        frames: Frames per clip; for a model whose input is token ids, tokens per sequence.
        batch: Clips, pictures or sequences per pass.
        size: Height and width. By default, the mapping's.
        channels: Channels of the input. By default, those of the first convolution.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``float32``, ``bfloat16`` or ``float16`` for weights and input; ``autocast`` for float32 weights and
            torch's automatic mixed precision with bfloat16.
        compile: Compile the model with `torch.compile`. Then there are no times by layer.
        compile_backend: The backend of `torch.compile`.
        channels_last: Use the channels-last memory format.
        optimize: Run the faster form of the model, for inference only; see `tfpt.optimize`.
        train: ``True`` for the training step only, ``False`` for the forward pass only, ``"both"`` for both. By
            default, both; the forward pass only for an optimized model.
        threads: Number of torch threads on the host. By default, unchanged.
        repeats: Number of measured passes. By default, as many as fit into two seconds, between 5 and 100.
        warmup: Number of passes before them; the first includes compilation.
        trace: Write a trace for Perfetto to this JSON file.
        overwrite: Replace an existing trace.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        dequantize: Convert quantized weights to the float32 values that they represent.
        trust: Import the model even if it is from outside the trusted packages.
        model: A model to measure instead of the mapping's. It is copied, not modified.

    Raises:
        TfptError: Unknown device or dtype, not enough memory, or conflicting options.
        ModelError: The model cannot be built, or cannot be run on such an input.
        MappingError: The mapping does not define the network's input, and the model does not start with an embedding.

    Example:
        >>> found = profile("i3d_rgb", frames=9, batch=1, size=193, train=False, repeats=1, warmup=0)
        >>> found.model, found.parameters, found.shape
        ('I3D', 12697264, (1, 3, 9, 193, 193))
        >>> [only] = found.passes
        >>> only.name, only.flops
        ('forward', 28808687232)
    """
    from tfpt.profiling import profile as implementation

    return implementation(
        mapping,
        weights,
        frames=frames,
        batch=batch,
        size=size,
        channels=channels,
        device=device,
        dtype=dtype,
        compile=compile,
        compile_backend=compile_backend,
        channels_last=channels_last,
        optimize=optimize,
        train=train,
        threads=threads,
        repeats=repeats,
        warmup=warmup,
        trace=trace,
        overwrite=overwrite,
        settings=settings,
        config=config,
        dequantize=dequantize,
        trust=trust,
        model=model,
    )


def propose(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    target: str | os.PathLike[str] | None = None,
    decided: Mapping[str, str] | None = None,
    averages: Literal["prefer", "ignore"] | None = None,
    prove: str | os.PathLike[str] | None = None,
    dequantize: bool = False,
    overwrite: bool = False,
    trust: bool = False,
) -> Proposal:
    """Propose a mapping for a checkpoint and a model, and write it. Weights are only read to `prove` it.

    Args:
        checkpoint: Any file that `tfpt.open_source` can open.
        out: The mapping to write. With a `target`, its manifest is written beside it.
        model: The PyTorch model, ``package.module:Class``.
        kwargs: The model's arguments.
        config: The configuration of a model of transformers: a dict or a JSON file.
        target: Instead of a model: a file of PyTorch weights, or a manifest.
        decided: What is known already, by parameter: the name of its variable, an empty text for none, or its layout.
        averages: Whether to read moving averages where the checkpoint has them. By default they are read, but that is
            unsure.
        prove: The TensorFlow network, or a recording of all it computes. Both networks are run on one input, what is
            unsure is settled by what they compute, and the mapping gets endpoints and epsilons.
        dequantize: Convert quantized weights to the float32 values that they represent; so must the conversion.
        overwrite: Replace an existing mapping.
        trust: Also import a model from outside the packages that tfpt trusts.

    Raises:
        SourceError: The checkpoint or the target cannot be read.
        ModelError: The model cannot be built.
        SinkError: The mapping exists already, or cannot be written.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = sample("i3d_rgb", f"{folder}/model.ckpt")
        >>> proposal = propose(f"{folder}/model.ckpt", f"{folder}/mine.yaml", model="tfpt.models.i3d:I3D",
        ...                    kwargs={"in_channels": 3, "num_classes": 400})
        >>> len(proposal.plan.writes), proposal.open, proposal.unused
        (344, (), ())
    """
    from tfpt.proposal.writing import propose as implementation

    return implementation(
        checkpoint,
        out,
        model=model,
        kwargs=kwargs,
        config=config,
        target=target,
        decided=decided,
        averages=averages,
        prove=prove,
        dequantize=dequantize,
        overwrite=overwrite,
        trust=trust,
    )


def draw_filters(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    sheet: str | os.PathLike[str] | None = None,
    layer: str | None = None,
    filters: str | None = None,
    channels: Literal["color", "each", "norm"] | None = None,
    input_channel: int | None = None,
    scale: Literal["common", "each"] | None = None,
    limit: float | None = None,
    zoom: int | None = None,
    fps: float = 4.0,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    dequantize: bool = False,
    trust: bool = False,
    model: nn.Module | None = None,
) -> Drawing:
    """Draw the filters of a convolution: a GIF that animates the kernel over time, a PNG with all steps side by side.

    A filter with three input channels is drawn in RGB (gray is 0), one with two as optical flow (Baker's color wheel,
    white is 0), any other as the norm over its input channels. Colors are symmetric about zero, and by default each
    tile is scaled by itself: full color is its largest absolute value, or its 98th percentile if the largest is more
    than three times that. Nothing is shifted. Kernels are magnified by whole numbers,
    without smoothing, and never flipped: left, top and early are as in the weight.

    Args:
        mapping: The name of a mapping (see `tfpt mappings`), or the path of its file.
        weights: Any file that `tfpt.load` reads. By default, random weights.
        out: A ``.gif`` file, or a ``.png`` file for the sheet.
        sheet: A ``.png`` file with a strip for each filter, time from left to right.
        layer: A module's path or an endpoint's name: a convolution, or a module that contains one. By default, the
            model's first convolution.
        filters: ``0,5,7-11``, ``top 16`` (by norm), or ``all``. By default, the first 256.
        channels: ``color``, ``each`` (one tile per input channel, blue to red), or ``norm``.
        input_channel: Draw only this input channel, blue to red.
        scale: ``each`` (a limit per tile), or ``common`` (the largest of all tiles). By default, ``each``; with a
            limit, ``common``.
        limit: The value drawn in full color in all tiles, instead of the largest.
        zoom: Pixels per weight. By default, chosen to fit.
        fps: Kernel steps per second in the GIF.
        overwrite: Replace existing files.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        dequantize: Convert quantized weights to the float32 values that they represent.
        trust: Import the model even if it is from outside the trusted packages.
        model: A model to draw instead of the mapping's.

    Raises:
        TfptError: Invalid options, or an optional package is missing.
        ModelError: There is no such layer, or it is not a convolution.
        SinkError: A file exists or cannot be written.

    Example:
        >>> import tempfile
        >>> found = draw_filters("i3d_rgb", None, f"{tempfile.mkdtemp()}/filters.gif")
        >>> found.layer, found.shape, len(found.pictures[0].tiles), found.pictures[0].frames
        ('conv3d_1a_7x7.conv3d', (64, 3, 7, 7, 7), 64, 7)
    """
    from tfpt.video.visualization import draw_filters as implementation

    return implementation(
        mapping,
        weights,
        out,
        sheet=sheet,
        layer=layer,
        filters=filters,
        channels=channels,
        input_channel=input_channel,
        scale=scale,
        limit=limit,
        zoom=zoom,
        fps=fps,
        overwrite=overwrite,
        settings=settings,
        config=config,
        dequantize=dequantize,
        trust=trust,
        model=model,
    )


def draw_activations(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    clip: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    sheet: str | os.PathLike[str] | None = None,
    layer: str | None = None,
    channels: str = "top 16",
    frames: int | None = None,
    start: float | None = None,
    scale: Literal["common", "each"] = "common",
    limit: float | None = None,
    zoom: int | None = None,
    fps: float | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    dequantize: bool = False,
    trust: bool = False,
    check: bool = True,
    model: nn.Module | None = None,
) -> Drawing:
    """Draw a layer's activations for a clip: a GIF with the clip next to them, a PNG with time from left to right.

    The model only runs up to that layer. Non-negative activations (after a ReLU) are drawn from 0 to the largest value
    of all tiles; if any is negative, blue to red and symmetric about zero. Each step of the output is shown next to
    the frame in the middle of its span of the clip. A network for single pictures is run on each frame separately.

    Args:
        mapping: The name of a mapping (see `tfpt mappings`), or the path of its file.
        weights: Any file that `tfpt.load` reads. By default, random weights.
        clip: A ``.npy`` file in TensorFlow's layout, a GIF, a folder of pictures or a video, prepared as for
            `tfpt.predict`. By default, random noise with a fixed seed.
        out: A ``.gif`` file, or a ``.png`` file for the sheet.
        sheet: A ``.png`` file with the clip and each channel as strips, at most 12 steps from left to right.
        layer: A module's path or an endpoint's name. By default, the mapping's first endpoint, else the model's first
            convolution.
        channels: ``0,5,7-11``, ``top 16`` (by mean absolute value), or ``all``.
        frames: The maximum number of frames. By default, 64, or 16 of noise.
        start: Where to start in the clip, in seconds.
        scale: ``common`` (one limit for all tiles), or ``each`` (a limit per tile).
        limit: The value drawn in full color, instead of the largest; larger values are clipped.
        zoom: Pixels per value. By default, chosen to fit. Activations larger than 128 pixels are first averaged in
            blocks.
        fps: Frames per second in the GIF. By default, the speed of the clip.
        device: The device to run the model on.
        overwrite: Replace existing files.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        dequantize: Convert quantized weights to the float32 values that they represent.
        trust: Import the model even if it is from outside the trusted packages.
        check: Reject a model whose layers contradict the mapping.
        model: A model to run instead of the mapping's.

    Raises:
        TfptError: Invalid options, not enough memory, or an optional package is missing.
        ModelError: There is no such layer, or its output is not an image.
        SourceError: The clip cannot be read, or does not fit the network.
        SinkError: A file exists or cannot be written.

    Example:
        >>> import tempfile
        >>> found = draw_activations("i3d_flow", None, None, f"{tempfile.mkdtemp()}/act.gif", channels="0-3")
        >>> found.layer, found.shape, found.shown, found.pictures[0].frames
        ('conv3d_1a_7x7', (1, 64, 8, 112, 112), (0, 1, 2, 3), 8)
    """
    from tfpt.video.visualization import draw_activations as implementation

    return implementation(
        mapping,
        weights,
        clip,
        out,
        sheet=sheet,
        layer=layer,
        channels=channels,
        frames=frames,
        start=start,
        scale=scale,
        limit=limit,
        zoom=zoom,
        fps=fps,
        device=device,
        overwrite=overwrite,
        settings=settings,
        config=config,
        dequantize=dequantize,
        trust=trust,
        check=check,
        model=model,
    )


def write_model(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    mapping_out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    trust: bool = False,
) -> WrittenModel:
    """Write a Keras model as a PyTorch module, with its mapping, and compare what both compute.

    The module is written from the model's configuration; neither Keras nor TensorFlow is needed for that. Both then run
    on one random input, if Keras is installed.

    Args:
        path: A ``.keras`` archive, or an HDF5 file of a whole model: Sequential or functional.
        out: The Python file to write, such as ``net.py``.
        mapping_out: The mapping to write, in the same folder. By default, the same name with ``.yaml``.
        overwrite: Replace existing files.
        trust: Allow the Keras model to run its own code in the comparison.

    Returns:
        What was written, the layers that were not (each is a module that raises `NotImplementedError`), and the
        comparison. It is settled if every layer was written and no output differs by more than 1e-5 of its largest
        value.

    Raises:
        SourceError: The file is not a Sequential or functional Keras model.
        SinkError: A file exists already or cannot be written.
        TfptError: The module could not be imported under its name.

    Example:
        >>> import tempfile, keras
        >>> folder = tempfile.mkdtemp()
        >>> model = keras.Sequential([keras.Input((7,)), keras.layers.Dense(5, "relu", name="head")], name="tiny")
        >>> model.save(f"{folder}/model.keras")
        >>> written = write_model(f"{folder}/model.keras", f"{folder}/tiny_net.py")
        >>> written.factory, written.layers, written.missing, written.settled
        ('tiny_net:Tiny', 1, (), True)
        >>> print(written.module.read_text().splitlines()[-1].strip())
        return F.relu(self.head(x))
    """
    from tfpt.modelwriting.writing import write_model as implementation

    return implementation(path, out, mapping_out, overwrite=overwrite, trust=trust)
