"""Chapter 03, supervised fine-tuning."""
