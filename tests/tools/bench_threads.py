"""How long pictures take by the number of torch's threads and how they wait, alone and beside a busy process.

`python tests/tools/bench_threads.py --model toon128` prints milliseconds, medians: of 16 pictures and of one, each
way in a process of its own. Two rounds, so that one sees how much the machine itself varies.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

BUSY = "while True: sum(range(10**6))"
ROUNDS, TIMES = 2, 7


def measure(model: str) -> None:
    """Of this process's threads."""
    from mind2mind.studio import Studio

    studio = Studio("cpu")

    def took(draw: Callable[[], object]) -> float:
        begun = time.monotonic()
        draw()
        return 1000 * (time.monotonic() - begun)

    studio.draw.sample(model, range(16))
    for count in (16, 1):
        times = [took(lambda count=count: studio.draw.sample(model, range(count))) for _ in range(TIMES)]
        print(f"{count:>4} {statistics.median(times):7.0f} ms", end="")
    print(flush=True)


def main() -> None:
    """Prints a line for each way."""
    parser = argparse.ArgumentParser(prog="python tests/tools/bench_threads.py", description=__doc__)
    parser.add_argument("--model", default="toon128")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        measure(options.model)
        return
    cores = os.cpu_count() or 1
    for busy in (False, True):
        for _ in range(ROUNDS):
            for threads, spins in ((cores, None), (cores, "2000"), (max(1, cores - 1), "2000")):
                other = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
                given = os.environ | {"OMP_NUM_THREADS": str(threads)}
                given |= {"GOMP_SPINCOUNT": spins} if spins else {}
                told = f"{threads} threads, spins {spins or 'as by default'}{', beside another' * busy}"
                print(f"{told:<50}", end="", flush=True)
                me = [sys.executable, __file__, "--model", options.model, "--here"]
                try:
                    subprocess.run(me, env=given, check=True)
                finally:
                    if other:
                        other.kill()


if __name__ == "__main__":
    main()
