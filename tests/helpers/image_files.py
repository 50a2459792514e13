"""Small image files of every kind that is read, made on the fly."""

import io
from typing import Any, Dict

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 65
#: EXIF orientations.
UPRIGHT, TURNED = 1, 6


def picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """A smooth picture (H, W, 3) uint8 BGR, white in its lower third."""
    noise = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    image[2 * height // 3 :] = 255
    return image


def opencv(suffix: str, image: np.ndarray, *parameters: int) -> bytes:
    """The bytes of an image file that OpenCV writes."""
    return cv2.imencode(suffix, image, list(parameters))[1].tobytes()


def pillow(form: str, image: Image.Image, **options: Any) -> bytes:
    """The bytes of an image file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def image_files(image: np.ndarray) -> Dict[str, bytes]:
    """File contents by name; of ``image``, or of forms of it with other colours."""
    photo = Image.fromarray(image[:, :, ::-1])
    translucent = photo.convert("RGBA")
    translucent.putalpha(100)
    exif = Image.Exif()
    exif[0x0112] = TURNED
    files = {f"plain{suffix}": opencv(suffix, image) for suffix in (".png", ".jpg", ".bmp", ".tif", ".webp", ".ppm")}
    files.update({f"grey{suffix}": opencv(suffix, image[:, :, 0]) for suffix in (".png", ".jpg", ".bmp", ".tif")})
    files.update({f"16 bits{suffix}": opencv(suffix, image.astype(np.uint16) * 257) for suffix in (".png", ".tif")})
    files.update({f"palette.{f}": pillow(f, photo.quantize(16)) for f in ("png", "bmp", "tiff")})
    files.update({f"alpha.{f}": pillow(f, translucent) for f in ("png", "tiff", "webp")})
    files.update({f"turned.{f}": pillow(f, photo, exif=exif) for f in ("png", "jpeg", "tiff")})
    files.update({f"bits.{f}": pillow(f, photo.convert("1")) for f in ("png", "bmp", "tiff")})
    files["progressive.jpg"] = opencv(".jpg", image, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    files["restarts.jpg"] = opencv(".jpg", image, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
    files["444.jpeg"] = pillow("jpeg", photo, subsampling=0)
    files["cmyk.jpeg"] = pillow("jpeg", photo.convert("CMYK"))
    files["lossless.webp"] = opencv(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 101)
    files["lzw.tiff"] = pillow("tiff", photo, compression="tiff_lzw")
    files["deflate.tiff"] = pillow("tiff", photo, compression="tiff_adobe_deflate")
    files["pages.tiff"] = pillow("tiff", photo, save_all=True, append_images=[photo.rotate(180)])
    files["frames.png"] = pillow("png", photo, save_all=True, append_images=[photo.rotate(180)])
    files["text.ppm"] = b"P3 # a comment\n2 1\n255\n1 2 3 40 50 60\n"
    files["16 bits.ppm"] = b"P5 2 1 65535\n\x12\x34\x56\x78"
    return files
