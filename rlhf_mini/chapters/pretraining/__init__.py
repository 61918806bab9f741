"""Chapter 02: how a language model is pretrained, and what its mask and its objective make of it."""
