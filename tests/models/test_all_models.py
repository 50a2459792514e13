"""What every registered network must do: learn, accept any size, save and load, and export."""

import functools
import math
from typing import NamedTuple

import numpy as np
import paddle
import pytest
from graphs import REJECTED_BY_TENSORRT, operator_names, predictor, save_static
from paddleseg.cvlibs import manager
from tiny_models import CASES, POSE, Case, create, images, predict

import paddle_rtseg
from paddle_rtseg.errors import InputError
from paddle_rtseg.models.rtformer import RTFormer

NUM_CLASSES = 5
FIXED_SIZE = (64, 96)


@pytest.fixture(params=CASES, ids=[case.name for case in CASES])
def case(request):
    return request.param


def test_every_registered_model_has_a_case():
    assert {case.model for case in CASES} | POSE == set(paddle_rtseg.list_models())


@pytest.mark.parametrize("batch, height, width", [(1, 64, 96), (2, 65, 47), (1, 99, 130)])
def test_prediction_matches_the_image_size(case, batch, height, width):
    logits = predict(create(case), images(batch, height, width))
    assert logits.shape == (batch, NUM_CLASSES, height, width)
    assert np.isfinite(logits).all()


def test_samples_are_independent(case):
    model, x = create(case), images(3, 64, 64)
    together = predict(model, x)
    alone = np.concatenate([predict(model, x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-4 * abs(alone).max())


def test_every_parameter_gets_a_gradient(case):
    model, x = create(case), images(2, 64, 96)
    model.train()
    labels = paddle.to_tensor(np.random.default_rng(1).integers(0, NUM_CLASSES, (2, 64, 96)))
    outputs = model(x)
    sum(paddle.nn.functional.cross_entropy(logits, labels, axis=1) for logits in outputs).backward()
    parameters = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
    assert [name for name, p in parameters.items() if p.grad is None] == []
    gradients = {name: p.grad.numpy() for name, p in parameters.items()}
    assert [name for name, g in gradients.items() if not np.isfinite(g).all()] == []
    assert [name for name, g in gradients.items() if not g.any()] == []


@pytest.mark.parametrize("num_classes", [2, 19])
def test_first_loss_is_that_of_a_guess(case, num_classes):
    """A classifier that starts too large makes the first steps undo it."""
    assert_guesses(create(case, num_classes), num_classes)


def registered_backbones():
    package = paddle_rtseg.__name__
    found = manager.BACKBONES.components_dict.items()
    return sorted(name for name, component in found if component.__module__.startswith(package + "."))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", registered_backbones())
def test_first_loss_on_every_backbone(backbone):
    model = "SegFormerPP" if backbone.startswith("MiT") else "LRFormerSeg"
    widths = {} if model == "SegFormerPP" else {"head_channels": 64}
    for num_classes in (2, 19):
        network = paddle_rtseg.create_model(
            model, num_classes=num_classes, backbone={"type": backbone, "depths": [1, 1, 1, 1]}, **widths
        )
        assert_guesses(network, num_classes)


def assert_guesses(model, num_classes):
    model.train()
    labels = paddle.to_tensor(np.random.default_rng(1).integers(0, num_classes, (2, 64, 96)))
    for logits in model(images(2, 64, 96)):
        loss = float(paddle.nn.functional.cross_entropy(logits, labels, axis=1))
        # RTFormer's heads start as PaddleSeg's do, with logits of about unit variance.
        assert abs(loss - math.log(num_classes)) < (0.6 if isinstance(model, RTFormer) else 0.03)


def test_single_output_in_evaluation(case):
    model, x = create(case), images(1, 64, 64)
    model.eval()
    assert len(model(x)) == 1


def test_minimum_image_size(case):
    model = create(case)
    smallest = model.min_input_size
    assert predict(model, images(1, smallest, smallest)).shape[2:] == (smallest, smallest)
    for height, width in ((smallest - 1, smallest), (smallest, smallest - 1)):
        with pytest.raises(InputError, match=f"at least {smallest} x {smallest} pixels, got {height} x {width}"):
            model(images(1, height, width))


def test_image_without_batch_axis(case):
    with pytest.raises(InputError, match=r"expected images of shape \(B, C, H, W\), got \[3, 64, 64\]"):
        create(case)(images(1, 64, 64)[0])


@pytest.mark.parametrize("extension", ["pdparams", "safetensors"])
def test_saved_weights_give_the_same_prediction(case, extension, tmp_path):
    from paddle_rtseg.weights import save_state

    model, other, x = create(case), create(case, seed=1), images(1, 64, 64)
    path = str(tmp_path / f"model.{extension}")
    save_state({name: value.numpy() for name, value in model.state_dict().items()}, path)
    assert not np.array_equal(predict(other, x), predict(model, x))
    paddle_rtseg.load_weights(other, path)
    np.testing.assert_array_equal(predict(other, x), predict(model, x))


class Exported(NamedTuple):
    model: paddle.nn.Layer
    prefix: str
    free: bool

    @property
    def sizes(self):
        return [(1, 64, 96), (2, 97, 75)] if self.free else [(1, *FIXED_SIZE), (3, *FIXED_SIZE)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(case, free) -> Exported, each exported once."""

    @functools.cache
    def export(index: int, free: bool) -> Exported:
        prefix = str(tmp_path_factory.mktemp("exported") / "model")
        model = create(CASES[index])
        save_static(model, prefix, None if free else FIXED_SIZE)
        return Exported(model, prefix, free)

    def get(case: Case, free: bool) -> Exported:
        if free and create(case).fixed_size_reason is not None:
            pytest.skip("needs a fixed height and width")
        return export(CASES.index(case), free)

    return get


both_forms = pytest.mark.parametrize("free", [False, True], ids=["fixed size", "free size"])


@pytest.mark.slow
@both_forms
def test_static_graph_equals_the_model(case, free, exported):
    model, prefix, _ = exported(case, free)
    graph = paddle.jit.load(prefix)  # a list of one output has become that output
    for size in exported(case, free).sizes:
        x = images(*size)
        expected = predict(model, x)
        np.testing.assert_allclose(graph(x).numpy(), expected, atol=1e-4 * abs(expected).max())


@pytest.mark.slow
@both_forms
@pytest.mark.parametrize("onednn", [False, True], ids=["plain", "oneDNN"])
def test_predictor_equals_the_model(case, free, onednn, exported):
    model, prefix, _ = exported(case, free)
    run = predictor(prefix, onednn)
    for size in exported(case, free).sizes:
        x = images(*size)
        expected = predict(model, x)
        np.testing.assert_allclose(run(x.numpy()), expected, atol=1e-4 * abs(expected).max())


def test_free_size_is_refused_where_the_network_needs_a_fixed_one(case, tmp_path):
    model = create(case)
    if model.fixed_size_reason is None:
        pytest.skip("can be exported with a free height and width")
    with pytest.raises(InputError):
        save_static(model, str(tmp_path / "model"), None)


@pytest.mark.slow
def test_fixed_size_graph_has_no_operator_that_tensorrt_rejects(case, exported):
    names = operator_names(exported(case, free=False).prefix)
    assert "conv2d" in names  # these are the names of operators
    assert names & REJECTED_BY_TENSORRT == set()
