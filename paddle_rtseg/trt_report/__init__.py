"""What Paddle's TensorRT rules make of an exported graph, operator by operator."""
