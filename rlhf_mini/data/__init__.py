"""Text into tokens: tokenizer, token streams, loaders for hub names and local files."""
