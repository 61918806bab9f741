"""The room of chapter 14: see `rlhf_mini.chapters`."""
