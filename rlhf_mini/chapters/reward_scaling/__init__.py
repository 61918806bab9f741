"""Chapter 11, Reward-model scaling."""
