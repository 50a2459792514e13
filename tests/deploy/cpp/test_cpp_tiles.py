"""The C++ program segments in the same tiles as the Python package, and refuses the same ones."""

import json
import os
import shutil

import cv2
import numpy as np
import paddle
import pytest
from cpp_programs import run
from rtseg_inference import InputError, Predictor, cli, contract
from rtseg_inference.contract import Pad, Preprocessing, Resize
from rtseg_inference.preprocess import Preprocessor
from rtseg_inference.tiling import Tiles, choose_fit
from tiling_models import ToyPredictor
from tiny_network import FRAMES, PREPROCESSING, tiny

from paddle_rtseg.export.exporter import export_model

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("size", "tile", "overlap", "batch"),
    [
        ((83, 121), (33, 48), 8, 1),
        ((83, 121), (33, 48), 16, 3),
        ((83, 121), (41, 40), 0, 2),
        ((83, 121), (200, 300), 64, 1),
        ((20, 121), (33, 40), 7, 2),  # padded
        ((5, 6), (33, 40), 7, 1),
        ((34, 40), (33, 40), 1, 1),
    ],
)
def test_masks_equal_python(size, tile, overlap, batch, host_check, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), image)
    asked = ["--model", "m", "--tile", f"{tile[0]}x{tile[1]}", "--overlap", overlap, "--batch_size", batch]
    status, _, err = run(host_check, "tiles", tmp_path / "image.png", tmp_path / "mask.png", *asked)
    assert status == 0, err
    expected = Tiles(ToyPredictor(least=(33, 40)), tile, overlap, batch)
    mask = cv2.imread(str(tmp_path / "mask.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, expected.predict(image).mask) and len(np.unique(mask)) == 3


def exported_as(folder, input_shape=None, output_op="logits", **rules):
    form = "json" if paddle.__version__.startswith("3") else "pdmodel"
    preprocessing = Preprocessing(mean=PREPROCESSING.mean, std=PREPROCESSING.std, **rules)
    return export_model(tiny(), str(folder), preprocessing, input_shape, output_op=output_op, format=form)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Exports by what they take."""
    root = tmp_path_factory.mktemp("models")
    return {
        "any size": exported_as(root / "any"),
        "one size": exported_as(root / "fixed", (1, 3, 96, 160)),
        "padded": exported_as(root / "padded", pad=Pad(96, 160, 127.5)),
        "resized": exported_as(root / "resized", (1, 3, 96, 160), resize=Resize("exact", height=96, width=160)),
    }


@pytest.mark.parametrize("name", ["any size", "one size", "padded", "resized"])
@pytest.mark.parametrize(
    "asked",
    [
        [],
        ["--fit", "resize"],
        ["--fit", "pad"],
        ["--tile", "96x160"],
        ["--tile", "16x16"],
        ["--tile", "128x160", "--overlap", "63"],
        ["--tile", "96x160", "--overlap", "48"],
        ["--tile", "60000x60000"],
        ["--overlap", "8"],
        ["--fit", "resize", "--overlap", "8"],
        ["--fit", "resize", "--tile", "96x160"],
    ],
)
def test_choices_and_refusals_equal_python(asked, name, folders, host_check):
    args = cli.parser().parse_args(["--model", folders[name], *asked])
    found = run(host_check, "fit", "--model", folders[name], *asked)
    try:
        fit = choose_fit(Preprocessor(contract.read_contract(folders[name])), args.tile, args.overlap, args.fit)
        assert found == (0, f"{fit}\n", "")
    except InputError as e:
        assert found == (2, "", f"error: {e}\n")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images of several sizes, one of them smaller than a model of one size takes."""
    folder = tmp_path_factory.mktemp("photos")
    frame = cv2.imread(str(sorted(FRAMES.glob("*.jpg"))[0]))
    cv2.imwrite(str(folder / "large.png"), frame)
    cv2.imwrite(str(folder / "odd.png"), frame[:101, :131])
    cv2.imwrite(str(folder / "small.png"), frame[:50, :40])
    return folder


@pytest.mark.parametrize("output_op", ["argmax", "softmax", "none", "logits"])
@pytest.mark.parametrize("asked", [["--tile", "96x160", "--overlap", "30"], [], ["--fit", "resize"]])
def test_files_equal_python(asked, output_op, rtseg_infer, photos, tmp_path):
    shape = None if "--tile" in asked else (2, 3, 96, 160)
    model = exported_as(tmp_path / "model", shape, output_op)
    common = ["--model", model, "--input", str(photos), "--backend", "native", "--batch_size", "2", *asked]
    common += ["--write", "masks,overlays,json,coco"]
    status, shown, err = run(rtseg_infer, *common, "--save_dir", tmp_path / "cpp")
    assert status == 0, err
    assert cli.run([*common, "--save_dir", str(tmp_path / "python")]) == 0
    assert ("resizing images to 96x160" if "resize" in asked else "segmenting in tiles of 96x160") in shown
    for name in ("large", "odd", "small"):
        masks = [cv2.imread(str(tmp_path / by / "masks" / f"{name}.png"), -1) for by in ("cpp", "python")]
        assert np.array_equal(*masks) and masks[0].shape == cv2.imread(str(photos / f"{name}.png")).shape[:2]
        overlays = [cv2.imread(str(tmp_path / by / "overlays" / f"{name}.jpg")) for by in ("cpp", "python")]
        assert overlays[0].shape == overlays[1].shape
        areas = [json.loads((tmp_path / by / "json" / f"{name}.json").read_text()) for by in ("cpp", "python")]
        scores = [[entry.pop("score") for entry in found["classes"]] for found in areas]
        assert areas[0] == areas[1]
        if output_op == "argmax":
            assert set(scores[0]) == set(scores[1]) == {None}
        else:
            np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)
    coco = [json.loads((tmp_path / by / "coco.json").read_text()) for by in ("cpp", "python")]
    assert coco[0] == coco[1] and len(coco[0]["images"]) == 3


def test_tiles_of_a_local_network_equal_the_whole_image(rtseg_infer, exported, photos, tmp_path):
    """Exactly where no edge of a tile is near; elsewhere the padding of convolutions counts, with a small weight."""
    command = [rtseg_infer, "--model", exported["logits"], "--input", photos / "large.png", "--backend", "native"]
    status, _, err = run(*command, "--save_dir", tmp_path, "--tile", "192x256", "--overlap", "64", "--write", "masks")
    assert status == 0, err
    mask = cv2.imread(str(tmp_path / "masks" / "large.png"), cv2.IMREAD_UNCHANGED)
    whole = Predictor(exported["logits"], backend="native").predict(str(photos / "large.png")).mask
    assert np.array_equal(mask[:120, :180], whole[:120, :180])
    assert 0.99 < (mask == whole).mean() < 1


def test_a_video_between_the_images(rtseg_infer, exported, photos, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "drive.mp4").write_bytes(b"")
    status, shown, err = run(
        rtseg_infer,
        "--model",
        exported["logits"],
        "--input",
        folder,
        "--save_dir",
        tmp_path / "out",
        "--backend",
        "native",
    )
    assert status == 0, err
    assert "not taken: 1 .mp4" in shown and os.path.exists(tmp_path / "out" / "masks" / "large.png")
