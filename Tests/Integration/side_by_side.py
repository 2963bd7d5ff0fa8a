"""Runs all test modules, two at a time: most of what a test takes is waiting. Each module's output comes when it ends."""

import concurrent.futures
import pathlib
import subprocess
import sys
import time

AT_A_TIME = 2
# What takes longest begins first, so that both end at about the same time.
LONGEST = (
    "test_faults", "test_package", "test_soak", "test_openapi", "test_machine", "test_generated", "test_trixie",
    "test_storage",
)


def run(module):
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-B", "-m", "unittest", "--verbose", module],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done, time.monotonic() - begin


def main():
    modules = {path.stem for path in pathlib.Path(__file__).parent.glob("test_*.py")}
    if missing := set(LONGEST) - modules:
        sys.exit(f"no such modules: {missing}")
    status = 0
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        order = [*LONGEST, *sorted(modules - set(LONGEST))]
        futures = {pool.submit(run, module): module for module in order}
        for future in concurrent.futures.as_completed(futures):
            done, seconds = future.result()
            print(f"--- {futures[future]}, {seconds:.0f} s", flush=True)
            sys.stdout.buffer.write(done.stdout)
            sys.stdout.flush()
            if done.returncode != 0:
                status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
