"""From the miniature to real models and data: the book's methods on any `transformers` language model.

`rlhf_mini.real.training.train` trains, `plan` only says what it would take; `settings` holds what a reader
decides. The command `rlhf-mini train` is the same from outside Python.
"""
