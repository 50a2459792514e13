"""Timing of networks, other runtimes, and the comparison with PaddleSeg's own infer.py."""
