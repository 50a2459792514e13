"""Settings that hold for all tests."""

import zlib  # noqa: F401  Paddle 2.6 carries an old zlib that must not be the first one found

import cv2  # noqa: F401  likewise
from rtseg_inference import environment

environment.configure()  # before any test imports paddle
