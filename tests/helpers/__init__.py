"""What several test files need: tiny networks, configs and data, exported graphs, processes, comparisons."""
