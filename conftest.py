"""What must stand in the environment before any test, and before any notebook's kernel, starts."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded; see rlhf_mini/__init__.py
os.environ.setdefault("GOMP_SPINCOUNT", "0")  # tests run beside one another
os.environ.setdefault("TQDM_DISABLE", "1")  # nobody watches; and see rlhf_mini/progress.py
