"""Chapter 06, Llama 2."""
