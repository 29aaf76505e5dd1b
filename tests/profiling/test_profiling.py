"""What a model costs: sleeps, products and tensors of known size must be found again, where they are."""

from __future__ import annotations

import json
import threading

import pytest
import torch
from torch import nn

import tfpt
from tests.profiling.profiled import CLOCK, NAP, Large, Nap, Net, write_mapping
from tfpt.errors import MappingError, ModelError, SinkError, TfptError
from tfpt.profiling import layer_marks, timing
from tfpt.profiling.operator_times import kind_of
from tfpt.profiling.passes import FORWARD, TRAINING

QUICK = {"frames": 7, "batch": 2, "repeats": 2, "warmup": 1}


@pytest.fixture(scope="module", autouse=True)
def clock():
    """Time that only naps take; the times of operators are the profiler's own and stay real."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (timing, layer_marks):
            patch.setattr(module, "time", CLOCK)
        yield


@pytest.fixture
def mapping(tmp_path):
    return write_mapping(tmp_path)


@pytest.fixture(scope="module")
def both(clock, tmp_path_factory):
    """The two passes over the network that naps; on one thread, which no other has to be waited for."""
    path = write_mapping(tmp_path_factory.mktemp("both"))
    return tfpt.profile(path, model=Net(), threads=1, **QUICK).passes


def layers(found):
    return {layer.path: layer for layer in found.layers.layers}


# -- layers ---------------------------------------------------------------------------------------------


def test_a_layer_that_sleeps_has_its_nap_under_its_path(both):
    nap = layers(both[0])["nap"]
    assert nap.forward == pytest.approx(NAP)
    assert (nap.kind, nap.calls, nap.leaf) == ("Nap", 1, True)


def test_what_a_container_does_itself_is_its_own_and_not_its_child_s(both):
    found = layers(both[0])
    assert found["block"].own == pytest.approx(NAP)
    assert found["block.inner"].forward == 0
    assert found["block"].forward == pytest.approx(found["block"].own + found["block.inner"].forward)


@pytest.mark.parametrize("depth", [None, 1, 2])
def test_the_rows_of_a_table_and_what_is_outside_are_the_whole(both, depth):
    for found in both:
        times = found.layers
        forward, backward = times.outside(depth)
        rows = sum(layer.total for layer in times.rows(depth))
        assert rows + forward + (backward or 0) + (times.step or 0) == pytest.approx(times.total)
        assert forward >= 0
        assert backward is None or backward >= 0


def test_at_depth_one_a_block_is_one_row_and_at_depth_two_its_layers_are(both):
    assert {row.path for row in both[0].layers.rows(1)} == {"block", "nap", "norm", "point", "pool"}
    assert {row.path for row in both[0].layers.rows(2)} == {"block.inner", "nap", "norm", "point", "pool"}
    assert both[0].layers.outside(1)[0] == pytest.approx(0)
    assert both[0].layers.outside(2)[0] == pytest.approx(NAP)


def test_a_gradient_that_sleeps_counts_for_the_layer_that_it_is_of(both):
    found = layers(both[1])
    assert found["nap"].backward == pytest.approx(NAP)
    # A function that the block calls: the block's own, and none of its layer's.
    assert found["block"].own_backward == pytest.approx(NAP)
    assert found["block.inner"].backward == 0
    assert found["block"].backward == pytest.approx(
        found["block"].own_backward + found["block.inner"].own_backward
    )


def test_a_module_in_two_places_is_listed_once_with_both_calls(mapping):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv3d(3, 3, 1)
            self.again = self.first

        def forward(self, x):
            return self.again(self.first(x))

    found = layers(tfpt.profile(mapping, model=Twice(), train=False, **QUICK).passes[0])
    assert found.keys() == {"", "first"}
    assert found["first"].calls == 2


class Sharing(nn.Module):
    """A layer in two branches, one of which is a list that never runs itself."""

    def __init__(self):
        super().__init__()
        shared = nn.Sequential(Nap())
        self.left = nn.ModuleList([shared])
        self.right = nn.Sequential(nn.Identity(), shared)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.right(self.left[0](x * self.scale))


@pytest.fixture(scope="module")
def sharing(clock, tmp_path_factory):
    path = write_mapping(tmp_path_factory.mktemp("sharing"))
    return tfpt.profile(path, model=Sharing(), train=True, threads=1, **QUICK).passes[0]


@pytest.mark.parametrize("depth", [None, 1, 2, 3])
def test_a_layer_that_branches_share_counts_for_the_branch_that_called_it(sharing, depth):
    rows = sharing.layers.rows(depth)
    for branch in ("left", "right"):
        there = [row for row in rows if row.path.startswith(branch)]
        assert sum(row.forward for row in there) == pytest.approx(NAP)
        assert sum(row.backward for row in there) == pytest.approx(NAP)
    assert min(sharing.layers.outside(depth)) >= 0


def test_a_list_of_modules_takes_what_they_take(sharing):
    left = layers(sharing)["left"]
    assert (left.kind, left.calls, left.own) == ("ModuleList", 0, 0)
    assert left.forward == pytest.approx(NAP)


def test_a_module_that_calls_itself_is_counted_once(mapping):
    class Again(nn.Module):
        def __init__(self):
            super().__init__()
            self.nap = Nap()

        def forward(self, x, more=1):
            x = self.nap(x)
            return self(x, more - 1) if more else x

    found = tfpt.profile(mapping, model=nn.Sequential(Again()), train=False, **QUICK).passes[0].layers
    assert found.rows(1)[0].forward == pytest.approx(2 * NAP)
    assert found.outside(1)[0] >= 0


def test_a_module_that_raises_has_run_and_its_caller_goes_on(mapping, tmp_path):
    class Forgiving(nn.Module):
        def __init__(self):
            super().__init__()
            self.wrong = nn.Linear(99, 2)
            self.nap = Nap()

        def forward(self, x):
            try:
                return self.wrong(x)
            except RuntimeError:
                return self.nap(x)

    trace = tmp_path / "t.json"
    found = tfpt.profile(mapping, model=Forgiving(), train=False, trace=trace, **QUICK).passes[0]
    assert layers(found).keys() == {"", "wrong", "nap"}
    assert layers(found)["wrong"].forward == 0
    assert layers(found)["nap"].forward == pytest.approx(NAP)
    events = json.loads(trace.read_text())["traceEvents"]
    wrong, nap = (
        next(e for e in events if e["name"] == name and e["cat"] == "user_annotation")
        for name in ("wrong", "nap")
    )
    assert wrong["ts"] + wrong["dur"] <= nap["ts"]


def test_a_layer_whose_children_do_not_run_is_a_row_of_its_own(mapping):
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(3, 1)

        def forward(self, x):
            x = x.flatten(2).permute(2, 0, 1)
            return self.attention(x, x, x)

    found = tfpt.profile(mapping, model=Attending(), train=False, **QUICK).passes[0]
    assert [row.path for row in found.layers.rows()] == ["attention"]


# -- totals ---------------------------------------------------------------------------------------------


def test_a_pass_takes_its_naps_and_a_training_pass_those_of_both_ways(both):
    assert [found.name for found in both] == [FORWARD, TRAINING]
    assert both[0].seconds.least == pytest.approx(2 * NAP)
    assert both[1].seconds.least == pytest.approx(4 * NAP)
    assert all(len(found.seconds.seconds) == 2 for found in both)


def test_clips_and_frames_a_second_follow_from_the_median(both):
    median = sum(both[0].seconds.seconds) / 2
    assert both[0].clips_per_second == pytest.approx(2 / median)
    assert both[0].frames_per_second == pytest.approx(2 * 7 / median)


def test_the_arithmetic_is_that_of_a_count_by_hand(both):
    positions = 2 * 7 * 11 * 11
    convolution, point = 2 * positions * 5 * 3 * 27, 2 * positions * 7 * 5
    assert both[0].flops == convolution + point
    # Backward a convolution makes the gradients of weight and input; the first has none of its input to make.
    assert both[1].flops == 2 * convolution + 3 * point


def test_gradients_of_convolutions_in_groups_are_counted_as_groups(mapping):
    model = nn.Sequential(
        nn.Conv3d(3, 6, 3, padding=1),
        nn.Conv3d(6, 12, 3, padding=1, groups=3),
        nn.ConvTranspose3d(12, 8, 2, stride=2, groups=4),
    )
    forward, training = tfpt.profile(mapping, model=model, **QUICK).passes
    positions = 2 * 7 * 11 * 11
    first, *others = (2 * positions * products for products in (6 * 3 * 27, 12 * 2 * 27, 12 * 2 * 8))
    assert forward.flops == first + sum(others)
    assert training.flops == 2 * first + 3 * sum(others)


def test_attention_and_fused_transformer_layers_are_counted(mapping):
    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.widen = nn.Linear(3, 16)
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

        def forward(self, x):
            return self.layer(self.widen(x.flatten(2).transpose(1, 2)))

    found = tfpt.profile(mapping, model=Transformer(), train=False, **QUICK).passes[0]
    tokens = 7 * 11 * 11
    weights = 3 * 16 + 16 * 3 * 16 + 16 * 16 + 2 * 16 * 32
    assert found.flops == 2 * 2 * (tokens * weights + 2 * 16 * tokens**2)
    assert torch.backends.mha.get_fastpath_enabled()


def test_memory_is_the_weights_the_input_and_the_most_that_lives_at_once(mapping):
    floats = 1_000_003
    few = tfpt.profile(mapping, model=Large(1), train=False, **QUICK).passes[0].memory
    many = tfpt.profile(mapping, model=Large(floats), train=False, **QUICK).passes[0].memory
    assert many - few == pytest.approx(4 * floats, abs=1000)
    given = 4 * (2 * 3 * 7 * 11 * 11 + 1)
    assert given <= few < given + 1000


def test_training_keeps_activations_that_inference_frees(mapping):
    model = nn.Sequential(nn.PReLU(), *(nn.Sigmoid() for _ in range(10)))
    forward, training = tfpt.profile(mapping, model=model, **QUICK).passes
    one = 4 * 2 * 3 * 7 * 11 * 11
    assert forward.memory < 5 * one
    assert training.memory > 11 * one


def test_the_process_is_larger_than_its_tensors(both):
    assert both[0].resident is None or both[0].resident > both[0].memory


def test_parameters_are_counted(mapping):
    found = tfpt.profile(mapping, model=Net(), train=False, **QUICK)
    assert found.parameters == 5 * 3 * 27 + 2 * 5 + 7 * 5 + 7
    assert found.parameter_bytes == 4 * found.parameters
    assert found.shape == (2, 3, 7, 11, 11)


def test_without_a_number_a_fast_pass_is_repeated_up_to_a_hundred_times(mapping):
    found = tfpt.profile(mapping, model=nn.Conv3d(3, 2, 1), frames=1, batch=1, train=False)
    assert len(found.passes[0].seconds.seconds) == 100


# -- kinds ----------------------------------------------------------------------------------------------


def test_time_by_kind_has_the_layers_calls_and_sums_to_the_pass(mapping):
    found = tfpt.profile(mapping, model=Net(), train=False, **QUICK).passes[0]
    calls = {kind.kind: kind.calls for kind in found.kinds}
    expected = {"convolution": 1, "convolution 1×1": 1, "batch norm": 1, "pooling": 1, "activation": 1}
    assert calls.items() >= expected.items()
    outside = next(kind for kind in found.kinds if kind.kind == "outside of operators")
    assert outside.seconds >= 2 * NAP
    assert all(kind.seconds >= 0 for kind in found.kinds)


def test_gradients_are_of_the_kind_of_what_they_are_gradients_of(both):
    calls = {kind.kind: kind.calls for kind in both[1].kinds}
    expected = {"convolution": 2, "convolution 1×1": 2, "batch norm": 2, "pooling": 2, "activation": 2}
    assert calls.items() >= expected.items()
    assert calls["optimizer"] > 0


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::cudnn_batch_norm_backward", "batch norm"),
        ("aten::cudnn_convolution", "convolution"),
        ("aten::native_layer_norm", "other normalization"),
        ("aten::addmm", "matrix product"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::_softmax", "softmax"),
        ("aten::avg_pool3d", "pooling"),
        ("aten::max_pool2d_with_indices_backward", "pooling"),
        ("aten::threshold_backward", "activation"),
        ("aten::copy_", "copies"),
        ("aten::cat", "copies"),
        ("aten::add_", "arithmetic"),
        ("aten::embedding", "lookup"),
        ("Optimizer.step#SGD.step", "optimizer"),
        ("aten::_foreach_add_", "optimizer"),
        ("aten::empty", "other operators"),
        ("ConvolutionBackward0", "outside of operators"),
    ],
)
def test_operators_have_kinds_in_words(operator, kind):
    assert kind_of(operator) == kind


# -- choices --------------------------------------------------------------------------------------------


def test_one_pass_can_be_left_out(mapping):
    assert [p.name for p in tfpt.profile(mapping, model=Net(), train=True, **QUICK).passes] == [TRAINING]
    assert [p.name for p in tfpt.profile(mapping, model=Net(), train=False, **QUICK).passes] == [FORWARD]


@pytest.mark.parametrize(
    ("dtype", "weights", "output"),
    [
        ("bfloat16", torch.bfloat16, torch.bfloat16),
        ("float16", torch.float16, torch.float16),
        ("autocast", torch.float32, torch.bfloat16),
        ("float32", torch.float32, torch.float32),
    ],
)
def test_a_dtype_is_that_of_the_model_and_what_it_computes(mapping, dtype, weights, output):
    seen = set()

    class Looking(nn.Conv3d):
        def forward(self, x):
            found = super().forward(x)
            seen.add((self.weight.dtype, found.dtype))
            return found

    tfpt.profile(mapping, model=Looking(3, 5, 3), dtype=dtype, **QUICK)
    assert seen == {(weights, output)}


def test_channels_last_is_the_layout_of_input_and_weights(mapping):
    strides = set()

    class Looking(nn.Conv3d):
        def forward(self, x):
            strides.add((x.stride()[1], self.weight.stride()[1]))
            return super().forward(x)

    tfpt.profile(mapping, model=Looking(3, 5, 3), channels_last=True, train=False, **QUICK)
    assert strides == {(1, 1)}


def test_a_compiled_model_has_kinds_and_no_layers_and_its_compilation_is_apart(mapping):
    forward, training = tfpt.profile(
        mapping, model=Net().block.inner, compile=True, compile_backend="eager", **QUICK
    ).passes
    assert forward.layers is None
    assert training.layers is None
    assert forward.compile_seconds is not None
    assert forward.flops == 2 * 2 * 7 * 11 * 11 * 5 * 3 * 27
    assert any(kind.kind == "convolution" for kind in forward.kinds)


def test_an_optimized_model_is_measured_forward_alone_and_counted_as_the_original(mapping):
    model = nn.Sequential(nn.Conv3d(3, 5, 3, padding=1), nn.BatchNorm3d(5), nn.ReLU()).eval()
    found = tfpt.profile(mapping, model=model, optimize=True, **QUICK)
    assert [each.name for each in found.passes] == [FORWARD]
    assert layers(found.passes[0])["1"].kind == "Identity"
    assert found.passes[0].flops == 2 * 2 * 7 * 11 * 11 * 5 * 3 * 27


def test_a_model_that_is_given_stays_as_it_is(mapping):
    model = Net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tfpt.profile(mapping, model=model, dtype="bfloat16", channels_last=True, **QUICK)
    assert model.training
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_without_parameters_has_nothing_to_train(mapping):
    with pytest.raises(ModelError, match="ReLU has no parameters to train") as refused:
        tfpt.profile(mapping, model=nn.ReLU(), **QUICK)
    assert "--forward-only" in refused.value.hint


def test_parameters_of_whole_numbers_are_not_trained(mapping):
    model = nn.Conv3d(3, 2, 1)
    model.table = nn.Parameter(torch.arange(3), requires_grad=False)
    assert len(tfpt.profile(mapping, model=model, **QUICK).passes) == 2


def test_a_model_that_cannot_be_copied_is_an_error(mapping):
    model = nn.Conv3d(3, 2, 1)
    model.lock = threading.Lock()
    with pytest.raises(ModelError, match="Conv3d cannot be copied"):
        tfpt.profile(mapping, model=model, train=False, **QUICK)


def test_the_number_of_threads_is_restored(mapping):
    before = torch.get_num_threads()
    found = tfpt.profile(mapping, model=Net(), threads=before + 1, train=False, **QUICK)
    assert found.threads == before + 1
    assert torch.get_num_threads() == before


def test_too_many_threads_are_refused(mapping):
    before = torch.get_num_threads()
    with pytest.raises(TfptError, match="too many threads"):
        tfpt.profile(mapping, model=Net(), threads=100_000, **QUICK)
    assert torch.get_num_threads() == before


def test_a_network_of_pictures_has_no_frames(tmp_path):
    text = 'version: 1\nweights: [{pt: n, fill: 0, shape: []}]\ninput: {layout: "b h w c -> b c h w", size: 13}\n'
    found = tfpt.profile(
        write_mapping(tmp_path, text), model=nn.Conv2d(4, 5, 3), batch=3, repeats=1, train=False
    )
    assert found.shape == (3, 4, 13, 13)
    assert found.passes[0].frames is None
    assert found.passes[0].frames_per_second is None


# -- the trace ------------------------------------------------------------------------------------------


def test_a_trace_has_a_range_for_every_module_and_pass(mapping, tmp_path):
    tfpt.profile(mapping, model=Net(), trace=tmp_path / "t.json", **QUICK)
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    ranges = {event["name"]: event for event in events if event.get("cat") == "user_annotation"}
    assert ranges.keys() >= {FORWARD, TRAINING, "Net", "block", "block.inner", "nap", "point", "pool"}
    assert ranges["nap"]["dur"] >= NAP * 1e6
    assert any(event["name"] == "aten::max_pool3d_with_indices" for event in events)


def test_a_trace_that_exists_is_left_unless_it_may_be_replaced(mapping, tmp_path):
    path = tmp_path / "t.json"
    path.write_text("mine")
    with pytest.raises(SinkError, match="exists already"):
        tfpt.profile(mapping, model=Net(), trace=path, **QUICK)
    assert path.read_text() == "mine"
    tfpt.profile(mapping, model=Net(), trace=path, overwrite=True, train=False, **QUICK)
    assert json.loads(path.read_text())["traceEvents"]


def test_a_pass_that_fails_leaves_no_trace(mapping, tmp_path):
    with pytest.raises(ModelError):
        tfpt.profile(mapping, model=nn.Linear(3, 5), trace=tmp_path / "t.json", **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["net.yaml"]


# -- what cannot be measured ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "no such device"),
        ({"device": "meta"}, "no such device"),
        ({"dtype": "float8"}, "unknown dtype"),
        ({"batch": 0}, "batch must be positive"),
        ({"frames": 0}, "frames must be positive"),
        ({"size": -1}, "size must be positive"),
        ({"repeats": 0}, "too few repeats"),
        ({"warmup": -1}, "too few warmup"),
        ({"optimize": True, "train": "both"}, "for inference only"),
        ({"train": "sometimes"}, "unknown choice of passes"),
        ({"compile": True, "compile_backend": "nonesuch"}, "cannot be compiled"),
        ({"batch": 10**9, "frames": 10**5}, "not enough memory"),
    ],
)
def test_invalid_options_are_refused(mapping, options, message):
    with pytest.raises(TfptError, match=message):
        tfpt.profile(mapping, model=Net(), **{**QUICK, **options})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_a_model_cannot_run_there(mapping):
    with pytest.raises(TfptError, match="does not find this CUDA device") as refused:
        tfpt.profile(mapping, model=Net(), device="cuda")
    assert "--device cpu" in refused.value.hint


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 3 GiB"), "not enough memory", "--batch"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory", "--batch"),
        (MemoryError(), "not enough memory", "--batch"),
        (RuntimeError("\"pool\" not implemented for 'Half'"), "cannot be run", "--dtype"),
        (ValueError("expected 4D input"), "expected 4D input", None),
    ],
)
def test_an_error_of_the_model_is_reported_with_its_input_and_a_hint(mapping, error, message, hint):
    class Failing(nn.Module):
        def forward(self, x):
            raise error

    with pytest.raises(TfptError, match=message) as refused:
        tfpt.profile(mapping, model=Failing(), channels=3, **QUICK)
    assert "[2, 3, 7, 11, 11]" in refused.value.got
    assert hint is None or hint in refused.value.hint


def test_too_small_a_clip_is_the_model_s_own_error():
    with pytest.raises(ModelError, match="the clip is too small"):
        tfpt.profile("i3d_rgb", frames=8, size=193)


def test_a_mapping_without_an_input_is_refused(tmp_path):
    path = write_mapping(tmp_path, "version: 1\nweights: [{pt: n, fill: 0, shape: []}]\n")
    with pytest.raises(MappingError, match="does not describe the network's input"):
        tfpt.profile(path, model=Net())
