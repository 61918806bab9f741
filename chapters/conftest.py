"""The notebooks under `pytest --nbval`: the quick profile and a fair share of the cores.

Kernels inherit these settings. Whatever is set already stays, so `RLHF_MINI_PROFILE=full pytest --nbval` runs
the full profile.
"""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
at_once = max(1, min(workers, len(list(HERE.glob("*.ipynb")))))

os.environ.setdefault("RLHF_MINI_PROFILE", "quick")
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_once)))
os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
