"""The commands that export what a search found."""

import shlex

import pytest
from tiny_configs import tiny_config, write_config
from tiny_models import TINY_MIT

import paddle_rtseg
from paddle_rtseg.config import load_config
from paddle_rtseg.tune.candidates import Network
from paddle_rtseg.tune.source import Source
from paddle_rtseg.weights import save_state

MERGING, TRANSFORMS = "model.backbone.token_merging", "val_dataset.transforms"
NORMALIZE = {"type": "Normalize"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of a config of a tiny SegFormer++ and of its weights."""
    folder = tmp_path_factory.mktemp("source")
    arguments = {"num_classes": 3, "head_channels": 16, "backbone": {"type": "MiT_B0", **TINY_MIT}}
    network = paddle_rtseg.create_model("SegFormerPP", **arguments)
    weights = str(folder / "weights.safetensors")
    save_state({name: value.numpy() for name, value in network.state_dict().items()}, weights)
    config = tiny_config(folder, num_classes=3, model={"type": "SegFormerPP", **arguments})
    return write_config(folder / "config.yml", config), weights


@pytest.mark.parametrize(
    "network, opts, expected",
    [
        (Network("none", 1.0), (), {}),
        (Network("none", 1.0), (f"{MERGING}=None", "batch_size=2"), {MERGING: None, "batch_size": 2}),
        (Network("none", 1.0), (f"{MERGING}=hq",), {MERGING: None}),
        (
            Network("2x2", 0.5),
            (),
            {MERGING: "2x2", TRANSFORMS: [{"type": "Resize", "target_size": [48, 32]}, NORMALIZE]},
        ),
        (
            *(Network("fast, every 2nd", 0.5), (f"{TRANSFORMS}=[{{'type': 'Normalize'}}]", f"{MERGING}=hq")),
            {
                MERGING: {"schedule": "fast", "match_every": 2},
                TRANSFORMS: [{"type": "Resize", "target_size": [48, 32]}, NORMALIZE],
            },
        ),
    ],
)
def test_overrides(network, opts, expected, files):
    """The command states each key once, and what it says is what the search exported."""
    config, weights = files
    source = Source(config, weights, opts)
    source.use_images({(64, 96)})
    words = source.export_command(network, "out")
    options = words[words.index("--opts") + 1 :] if "--opts" in words else []
    assert sorted(option.partition("=")[0] for option in options) == sorted(expected)
    read = load_config(config, opts=options).dic
    for key, value in expected.items():
        found = read
        for part in key.split("."):
            found = found[part]
        assert found == value


def test_overrides_are_easy_to_read_in_a_shell(files):
    source = Source(*files)
    source.use_images({(64, 96)})
    command = shlex.join(source.export_command(Network("none", 0.5), "out"))
    assert (
        """'val_dataset.transforms=[{"type": "Resize", "target_size": [48, 32]}, {"type": "Normalize"}]'""" in command
    )
