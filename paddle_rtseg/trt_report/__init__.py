"""Experimental: which operators of an exported graph TensorRT would run, according to Paddle's rules."""
