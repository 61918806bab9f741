"""Chapter 07, DPO and its family."""
