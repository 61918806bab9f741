"""Chapter 12, GRPO and verifiable rewards."""
