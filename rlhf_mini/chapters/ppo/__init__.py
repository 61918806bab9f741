"""Chapter 05, PPO for language models."""
