"""What is fast, measured: each figure beside a ceiling or a peer in the same run, for the machines are shared and noisy."""
