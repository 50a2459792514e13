"""Export a trained model for Paddle Inference; the same program as ``python -m paddleseg.export``."""

from paddle_rtseg.tools.command import run
from paddle_rtseg.tools.export import main, parser

if __name__ == "__main__":
    run(parser, main)
