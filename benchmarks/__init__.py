"""Measurements side by side with the general-purpose stack; see bench.py."""

import rlhf_mini  # noqa: F401  # sets what torch reads when it is loaded, for all contestants
