"""What training needs besides a network: checkpoints, loading, sampling, losses, oneDNN on the CPU, hooks."""
