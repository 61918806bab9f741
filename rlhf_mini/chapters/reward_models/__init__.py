"""Chapter 04, reward models."""
