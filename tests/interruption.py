"""Kills a command at random moments, the way a power cut would: for tests, and by hand with any command.

python tests/interruption.py --times 20 --within 30 -- rlhf-mini run --until base
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence


def kill_repeatedly(
    command: Sequence[str],
    *,
    times: int,
    within: float,
    seed: int,
    env: Mapping[str, str] | None = None,
    under_way: Callable[[], bool] = lambda: True,
    after_each: Callable[[], None] = lambda: None,
) -> int:
    """Start `command` `times` times and end each run with SIGKILL after a random part of `within` seconds.

    The seconds count from when `under_way` first says so. `after_each` is called after every run. Returns how
    many runs were really killed, and not over before.
    """
    moments, killed = random.Random(seed), 0
    for _ in range(times):
        process = subprocess.Popen(
            command, env=env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not under_way() and process.poll() is None:
            time.sleep(0.002)
        try:
            process.wait(moments.uniform(0, within))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        else:
            if process.returncode != 0:
                raise RuntimeError(f"the command failed by itself, with status {process.returncode}")
        after_each()
    return killed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--within", type=float, required=True, help="seconds within which each kill falls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --, the command to kill")
    arguments = parser.parse_args()
    command = [part for at, part in enumerate(arguments.command) if (at, part) != (0, "--")]
    killed = kill_repeatedly(command, times=arguments.times, within=arguments.within, seed=arguments.seed)
    print(f"killed {killed} of {arguments.times} runs; the others were over before")
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
