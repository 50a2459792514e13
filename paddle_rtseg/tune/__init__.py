"""The search for the fastest, or the most accurate, way to run trained weights: ``python -m paddle_rtseg.tune``."""
