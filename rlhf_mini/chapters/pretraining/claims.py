"""What chapter 02 claims, measured: `rlhf-mini claims 02` prints this table."""
