"""Side-by-side measurements of `rlhf_mini` and the general-purpose stack, on the machine at hand."""
