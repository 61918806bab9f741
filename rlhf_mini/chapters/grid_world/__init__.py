"""Chapter 01, grid-world RL: the experiments."""
