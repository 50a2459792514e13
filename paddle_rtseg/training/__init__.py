"""Training: the loops, checkpoints, data loading, sampling, losses, oneDNN on the CPU, and hooks for PaddleSeg."""
