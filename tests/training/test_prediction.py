"""The command predict on good and bad images; its results are those of PaddleSeg's own."""

import os
import shutil

import cv2
import numpy as np
import paddle
import paddleseg.core
import pytest
from image_files import image_files, picture
from paddleseg.transforms import Compose
from rtseg_inference.images import read_image
from tiny_configs import TRAINED, run_command, tiny_config, write_config

import paddle_rtseg
from paddle_rtseg.config import Builder, load_config
from paddle_rtseg.errors import InputError
from paddle_rtseg.training import prediction

FILES = image_files(picture(64, 96))
GOOD = ("plain.png", "plain.jpg", "16 bits.png", "palette.png", "alpha.png", "turned.jpeg", "plain.bmp")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a config and weights of a tiny RTFormer."""
    monkeypatch.chdir(tmp_path)
    write_config("config.yml", tiny_config(tmp_path, num_classes=3))
    paddle.seed(0)
    arguments = {**TRAINED, "num_classes": 3}
    paddle.save(paddle_rtseg.create_model(arguments.pop("type"), **arguments).state_dict(), "weights.pdparams")
    return tmp_path


def put(*names, under="images"):
    for name in names:
        os.makedirs(os.path.dirname(os.path.join(under, name)), exist_ok=True)
        with open(os.path.join(under, name), "wb") as file:
            file.write(FILES[os.path.basename(name)])


def predict(images, *arguments, out="out", config="config.yml"):
    model = ["--config", config, "--model_path", "weights.pdparams"]
    return run_command("predict", "--device", "cpu", *model, "--image_path", images, "--save_dir", out, *arguments)


def written(folder="out"):
    return sorted(os.path.relpath(os.path.join(d, f), folder) for d, _, files in os.walk(folder) for f in files)


@pytest.mark.parametrize(
    ("transforms", "arguments", "settings"),
    [
        ([], [], {}),
        (
            [{"type": "ResizeByShort", "short_size": 96}],
            ["--aug_pred", "--scales", "0.5", "1.0", "--flip_horizontal", "--custom_color", *"123456"],
            {
                "aug_pred": True,
                "scales": [0.5, 1.0],
                "flip_horizontal": True,
                "flip_vertical": False,
                "custom_color": [1, 2, 3, 4, 5, 6],
            },
        ),
        (
            [{"type": "Padding", "target_size": [128, 128]}],
            ["--is_slide", "--crop_size", "64", "64", "--stride", "32", "32"],
            {"is_slide": True, "crop_size": [64, 64], "stride": [32, 32]},
        ),
    ],
)
def test_results_are_those_of_paddleseg(transforms, arguments, settings, folder, capfd):
    write_config("config.yml", tiny_config(folder, num_classes=3, transforms=[*transforms, {"type": "Normalize"}]))
    put(*GOOD, "below/plain.png")
    assert predict("images", *arguments) == 0
    assert "Weights are not loaded" not in "".join(capfd.readouterr())
    config = load_config("config.yml")
    model = Builder(config).model
    model.set_state_dict(paddle.load("weights.pdparams"))
    images = [os.path.join("images", name) for name in (*GOOD[:1], *GOOD[2:], "below/plain.png")]
    paddleseg.core.predict(model, None, Compose(Builder(config).val_transforms), images, "images", "theirs", **settings)
    names = written("theirs")
    # Those of plain.png, plain.jpg and plain.bmp share a name in PaddleSeg.
    assert len(names) == 13
    for name in names:
        if os.path.basename(name) == "plain.png" and "below" not in name and "pseudo" in name:
            continue
        ours, theirs = (cv2.imread(os.path.join(root, name), cv2.IMREAD_UNCHANGED) for root in ("out", "theirs"))
        assert np.array_equal(ours, theirs), name
    assert [n for n in written() if "pseudo" in n and "plain" in n] == [
        f"pseudo_color_prediction/{n}.png" for n in ("below/plain", "plain.bmp", "plain.jpg", "plain.png")
    ]


def test_bad_images_cost_no_others(folder, capsys):
    put("plain.png", "plain.webp", "lzw.tiff", "text.ppm")
    cv2.imwrite("images/thin.png", np.zeros((64, 4), np.uint8))
    with open("images/half.jpg", "wb") as file:
        file.write(FILES["plain.jpg"][:2000] + b"\xff\xd9")
    for name in ("a.gif", "README", "clip.mp4"):
        (folder / "images" / name).write_bytes(b"")
    assert predict("images") == 1
    assert [n for n in written() if n.startswith("pseudo")] == [
        f"pseudo_color_prediction/{n}.png" for n in ("lzw", "plain.png", "plain.webp")
    ]
    shown = capsys.readouterr()
    skipped = [line for line in shown.err.splitlines() if line.startswith("skipped ")]
    assert [line.split(":")[0] for line in skipped] == ["skipped half", "skipped text", "skipped thin"]
    assert "images/half.jpg', which is cut short; replace or remove it" in skipped[0]
    assert "at least 32 x 32 pixels, got 1 x 2" in skipped[1]
    assert "3 written to out, 3 failed, " in shown.out
    advice = "; to segment a video, name it as the --input of infer"
    assert f"\nnot taken: 1 without an extension, 1 .gif, 1 .mp4{advice}\n" in shown.out


def test_image_that_becomes_too_large_is_skipped(folder, capsys):
    transforms = [{"type": "ResizeByShort", "short_size": 540}, {"type": "Normalize"}]
    write_config("config.yml", tiny_config(folder, num_classes=3, transforms=transforms))
    cv2.imwrite("thin.png", np.zeros((2, 3000), np.uint8))
    assert predict("thin.png") == 1
    assert "million pixels, got 3000 x 2, which becomes 810000 x 540; crop the image" in capsys.readouterr().err
    put("plain.png")
    assert predict("images/plain.png", "--aug_pred", "--scales", "99") == 1
    assert "got 80190 x 53460, which it is scaled to; lower --scales" in capsys.readouterr().err


def test_results_are_not_segmented(folder, capsys):
    put("plain.png", "below/plain.jpg")
    for out in ("images", "images/out"):
        for _ in range(2):
            assert predict("images", out=out) == 0
            assert "2 written" in capsys.readouterr().out
        shutil.rmtree("images/added_prediction", ignore_errors=True)
        shutil.rmtree("images/pseudo_color_prediction", ignore_errors=True)
    with pytest.raises(InputError, match="expected images other than the results in"):
        predict("images/out/added_prediction", out="images/out")


def test_list_of_images(folder):
    """Blank lines are skipped, labels after the image too, and no result leaves save_dir."""
    put("plain.png", under="elsewhere")
    put("plain.jpg", "below/plain.bmp")
    with open("images/list.txt", "w") as file:
        file.write(f"plain.jpg label.png\n\nbelow/plain.bmp\n{os.path.abspath('elsewhere/plain.png')}\n\n")
    assert predict("images/list.txt") == 0
    names = ("below/plain", "elsewhere/plain", "plain")
    assert [n for n in written() if n.startswith("pseudo")] == [f"pseudo_color_prediction/{n}.png" for n in names]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "expected images at 'nowhere', which does not exist; check --image_path"),
        ("clip.mp4", r"expected an image \(.*\) or a folder, got 'clip.mp4'"),
        ("config.yml", r"expected an image \(.*\) or a folder, got 'config.yml'"),
        ("empty", "got none"),
    ],
)
def test_path_without_images(path, message, folder):
    (folder / "clip.mp4").write_bytes(b"\x80\xff")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        predict(path)
    assert not os.path.exists("out")


def test_config_without_a_val_dataset(folder):
    put("plain.png")
    config = tiny_config(folder, num_classes=3)
    del config["val_dataset"]
    write_config("config.yml", config)
    with pytest.raises(InputError, match="expected a val_dataset in the config"):
        predict("images")


def test_interrupt_keeps_what_is_whole(folder, monkeypatch):
    put("plain.png", "plain.jpg", "plain.bmp")
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read_image(*arguments)

    monkeypatch.setattr(prediction, "read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict("images")
    assert written() == [
        "added_prediction/plain.bmp",
        "added_prediction/plain.jpg",
        "pseudo_color_prediction/plain.bmp.png",
        "pseudo_color_prediction/plain.jpg.png",
    ]
