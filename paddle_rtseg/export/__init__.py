"""From a trained model to a folder that Paddle Inference runs: ``python -m paddleseg.export``."""
