"""Timing of networks, in Paddle and other runtimes, and a comparison with PaddleSeg's own infer.py."""
