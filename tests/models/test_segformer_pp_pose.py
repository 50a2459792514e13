"""SegFormer++ for poses against heatmaps that the published code made (tests/fixtures)."""

import os

import numpy as np
import paddle
import pytest
from graphs import predictor, save_static
from rtseg_inference.pose import average_flipped
from tiny_models import TINY_MIT

import paddle_rtseg
from paddle_rtseg.errors import InputError
from paddle_rtseg.models.mix_transformer import MixTransformer
from paddle_rtseg.models.segformer_pp_pose import SegFormerPPPose
from paddle_rtseg.weights import convert, load_weights

PATH = os.path.join(os.path.dirname(__file__), "..", "fixtures", "segformerpp_pose_tiny.npz")
MODES = [(None, "orig"), ("hq", "hq"), ("fast", "fast"), ("2x2", "n2x2")]
SIZES = ["1x256x192", "2x200x150"]


class Heatmaps(paddle.nn.Layer):
    """A network's first output, as exported graphs have it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[0]


@pytest.fixture(scope="module")
def reference():
    return dict(np.load(PATH))


@pytest.fixture(scope="module")
def state(reference):
    return convert({name[2:]: array for name, array in reference.items() if name.startswith("w/")}, "segformer")


def model(state, mode):
    network = SegFormerPPPose(6, MixTransformer(**TINY_MIT, norm_eps=1e-6, token_merging=mode), head_channels=32)
    load_weights(network, state)
    network.eval()
    return network


def assert_close(found, expected):
    """Within 1e-4 of the largest heatmap value: float64 is as far from the reference as float32."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * abs(expected).max())


def heatmaps(network, x):
    with paddle.no_grad():
        return network(paddle.to_tensor(x))[0].numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode, stored", MODES)
def test_heatmaps(mode, stored, size, reference, state):
    found = heatmaps(model(state, mode), reference[f"x/{size}"].astype("float32"))
    assert_close(found, reference[f"y/{stored}/{size}"])


@pytest.mark.parametrize("mode, stored", [(None, "orig"), ("hq", "hq")])
def test_flip_test(mode, stored, reference, state):
    x = reference["x/1x256x192"].astype("float32")
    network = model(state, mode)
    plain, mirrored = heatmaps(network, x), heatmaps(network, x[..., ::-1].copy())
    mean = average_flipped(plain, mirrored, reference["flip_indices"].tolist())
    assert_close(mean, reference[f"flip/{stored}/1x256x192/shift1"])


@pytest.mark.slow
@pytest.mark.parametrize("mode, stored", MODES)
def test_exported_graph(mode, stored, reference, state, tmp_path):
    x = reference["x/1x256x192"].astype("float32")
    save_static(Heatmaps(model(state, mode)), str(tmp_path / "model"), x.shape[2:])
    assert_close(predictor(str(tmp_path / "model"), onednn=True)(x), reference[f"y/{stored}/1x256x192"])


def test_by_name_and_its_first_values():
    paddle.seed(0)
    network = paddle_rtseg.create_model("SegFormerPPPose", num_keypoints=17, backbone={"type": "MiT_B0"})
    assert sum(p.size for p in network.parameters() if p.trainable) == pytest.approx(3.72e6, rel=0.005)
    for layer in network.head.sublayers():
        if isinstance(layer, paddle.nn.Conv2D):
            assert float(layer.weight.std()) == pytest.approx(0.001, rel=0.1)
    assert abs(heatmaps(network, np.zeros((1, 3, 64, 64), "float32"))).max() < 0.1
    with pytest.raises(InputError, match="at least 97"):
        merging = paddle_rtseg.create_model(
            "SegFormerPPPose", num_keypoints=17, backbone={"type": "MiT_B0", "token_merging": "hq"}
        )
        heatmaps(merging, np.zeros((1, 3, 96, 72), "float32"))
