"""The model zoo page: up to date, refused when stale, and its figures are the networks'."""

import pathlib
import shutil

import pytest

from paddle_rtseg.benchmark import model_zoo, timing
from paddle_rtseg.errors import InputError
from paddle_rtseg.tools import model_zoo as command
from paddle_rtseg.weights import released

ROOT = pathlib.Path(__file__).parents[2]
RECOUNTED = (
    "rtformer_slim_camvid_480x360",
    "rtformer_base_ade20k_512x512_160k",
    "segformerpp_b0_camvid_480x360",
    "lrformer_t_camvid_480x352",
)


@pytest.fixture
def checkout(tmp_path):
    """Those parts of the project that the page is made from."""
    for folder in ("configs", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def run(checkout, *arguments):
    command.main(command.parser().parse_args(["--root", str(checkout), *arguments]))


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_page_is_up_to_date():
    assert model_zoo.stale(str(ROOT)) == []


def test_every_config_is_on_the_page():
    """Except the demo, whose result means nothing, and poses, which have no mean IoU."""
    listed = {entry.name for entry in model_zoo.read_entries(str(ROOT))}
    configs = {path.stem for path in (ROOT / "configs").glob("[!_]*/*.yml") if path.parent.name != "segformerpp_pose"}
    assert configs - listed == {"rtformer_slim_camvid_demo"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "file, old, new",
    [
        ("configs/rtformer/rtformer_slim_ade20k_512x512_160k.yml", "mIoU: 36.67", "mIoU: 36.68"),
        ("configs/rtformer/rtformer_slim_camvid_480x360.yml", "mIoU: 55.8", "mIoU: 55.9"),
        ("configs/_base_/segformerpp.yml", "type: SegFormerPP", "type: SegFormerPP\n  head_channels: 128"),
        ("docs/model_zoo.csv", ",34837210112,", ",35837210112,"),  # MACs of RTFormer-Base
        ("docs/model_zoo.md", "# Model zoo", "# The model zoo"),
        ("README.md", "| RTFormer-Slim |", "| RTFormer-slim |"),
    ],
)
def test_change_makes_it_stale(checkout, file, old, new):
    replace(checkout / file, old, new)
    with pytest.raises(InputError, match=r"stale; run python -m paddle_rtseg.model_zoo"):
        run(checkout, "--check")


@pytest.mark.slow
def test_new_weights_make_it_stale(checkout, monkeypatch):
    class Other(released.Release):
        def __init__(self, name):
            super().__init__(name)
            self.metadata = {**self.metadata, "config": "rtformer_slim_camvid_480x360.yml"}

    assert model_zoo.stale(str(checkout)) == []
    monkeypatch.setattr(released, "Release", Other)
    assert model_zoo.stale(str(checkout)) == [model_zoo.PAGE, model_zoo.README]


@pytest.mark.slow
def test_removed_config_leaves_page_and_data(checkout):
    (checkout / "configs/lrformer/lrformer_t_camvid_480x352.yml").unlink()
    run(checkout)
    for name in (model_zoo.PAGE, model_zoo.DATA):
        text = (checkout / name).read_text(encoding="utf-8")
        assert "lrformer_t_camvid_480x352" not in text and ",352,480," not in text
    run(checkout, "--check")


@pytest.mark.slow
def test_new_network_is_counted(checkout):
    """A config of a network that the data file does not know: its counts are computed when the page is written."""
    path = checkout / "configs/rtformer/rtformer_slim_camvid_480x360.yml"
    replace(path, "  bn_momentum: 0.9", "  bn_momentum: 0.9\n  base_channels: 8")
    with pytest.raises(InputError, match="stale"):
        run(checkout, "--check")
    run(checkout)
    run(checkout, "--check")
    data = model_zoo.read_measurements(str(checkout))
    (row,) = (
        row for key, row in data.items() if key.model.startswith("RTFormer_Slim:base_channels=8") and key.height == 360
    )
    assert 0 < row.parameters < 5e6 and row.milliseconds is None


@pytest.mark.slow
@pytest.mark.parametrize("name", RECOUNTED)
def test_counts_are_those_of_the_network(name):
    (entry,) = (entry for entry in model_zoo.read_entries(str(ROOT)) if entry.name == name)
    row = model_zoo.read_measurements(str(ROOT))[entry.key]
    hint = "run python -m paddle_rtseg.model_zoo --recount"
    assert (row.parameters, row.macs) == model_zoo.count(entry.key), hint


def test_milliseconds_name_their_machine():
    timed = [row for row in model_zoo.read_measurements(str(ROOT)).values() if row.milliseconds is not None]
    assert len(timed) >= 8
    for row in timed:
        assert row.machine and row.paddle and row.date


def test_stopped_measurement_keeps_what_it_has(checkout, monkeypatch):
    sizes = []

    def benchmark(models, size, *rest, **settings):
        if sizes:
            raise KeyboardInterrupt
        sizes.extend(size)
        return [timing.Row(model, size[0], "onednn", 1.0, 1.0, 1234.5, 1.0) for model in models]

    monkeypatch.setattr(timing, "benchmark", benchmark)
    with pytest.raises(KeyboardInterrupt):
        run(checkout, "--measure", "rtformer_slim_camvid")
    rows = [row for row in model_zoo.read_measurements(str(checkout)).values() if row.milliseconds == 1234.5]
    assert [(row.height, row.width) for row in rows] == sizes
    assert "1234" in (checkout / "docs" / "model_zoo.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_measures_on_this_machine(checkout):
    path = checkout / "configs/rtformer/rtformer_slim_camvid_480x360.yml"
    replace(path, "  bn_momentum: 0.9", "  bn_momentum: 0.9\n  base_channels: 8\n  head_channels: 8")
    run(checkout, "--measure", "rtformer_slim_camvid_480x360", "--turns", "2", "--machine", "A, 2 cores", "--note", "x")
    assert "**b**: ms on A, 2 cores, Paddle" in (checkout / model_zoo.PAGE).read_text(encoding="utf-8")
    run(checkout, "--check")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--measure", "nothing"], "part of a config's name, got 'nothing'"),
        (["--turns", "1"], "--turns of 2 or more, got 1"),
        (["--check", "--recount"], "leave one out"),
    ],
)
def test_bad_arguments(checkout, arguments, words):
    with pytest.raises(InputError, match=words):
        run(checkout, *arguments)


def test_outside_a_checkout(tmp_path):
    with pytest.raises(InputError, match="a checkout of the project"):
        run(tmp_path)


def test_readme_without_a_place(checkout):
    replace(checkout / "README.md", model_zoo.EXCERPT_END, "")
    with pytest.raises(InputError, match=r"README\.md; add them"):
        run(checkout)
