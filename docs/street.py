"""Draw docs/street.jpg: a CamVid test frame and what the bundled weights see in it, with a legend.

python docs/street.py
"""

import os
import tempfile

import cv2
import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from paddle_rtseg.data.palettes import classes_and_palette
from paddle_rtseg.tools import infer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FRAME = os.path.join(ROOT, "tests", "data", "camvid_mini", "images", "Seq05VD_f01470.jpg")
WIDTH, HEIGHT = 720, 540  # of each panel: the size at which the network sees the frame
GAP, LEGEND = 8, 76
OPACITY = 0.6
COLUMNS = 6


def segment(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR -> (H, W) class ids, by the command that the README shows."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "street.png")
        cv2.imwrite(path, image)
        arguments = ["--model", "rtformer_slim_camvid", "--input", path, "--save_dir", folder, "--backend", "native"]
        infer.main(infer.parser().parse_args(arguments))
        return cv2.imread(os.path.join(folder, "masks", "street.png"), cv2.IMREAD_UNCHANGED)


def main() -> None:
    image = cv2.resize(cv2.imread(FRAME), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    mask = segment(image)
    names, palette = classes_and_palette("CamVid")  # (11, 3) RGB
    rgb = image[:, :, ::-1].astype(np.float32)
    overlay = (1 - OPACITY) * rgb + OPACITY * palette[mask]

    sheet = Image.new("RGB", (2 * WIDTH + GAP, HEIGHT + LEGEND), "white")
    sheet.paste(Image.fromarray(rgb.astype(np.uint8)), (0, 0))
    sheet.paste(Image.fromarray(overlay.round().astype(np.uint8)), (WIDTH + GAP, 0))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 22)
    step = (2 * WIDTH + GAP) // COLUMNS
    for i, (name, colour) in enumerate(zip(names, palette)):
        x, y = i % COLUMNS * step + 4, HEIGHT + 12 + i // COLUMNS * 34
        draw.rectangle([x, y, x + 34, y + 22], fill=tuple(int(c) for c in colour))
        draw.text((x + 44, y + 11), name, fill="black", font=font, anchor="lm")
    sheet.save(os.path.join(ROOT, "docs", "street.jpg"), quality=85, subsampling=0)


if __name__ == "__main__":
    main()
