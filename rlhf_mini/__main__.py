"""`python -m rlhf_mini` is `rlhf-mini`; `torchrun -m rlhf_mini` runs it in several processes."""

import sys

from rlhf_mini.cli import main

if __name__ == "__main__":
    sys.exit(main())
