"""Runs test modules, two at a time: most of what a test takes is waiting. Each module's output comes when it ends.

With names of tests, as unittest takes them, it runs those one after another. The last line says how many have passed
and how many have failed.
"""

import concurrent.futures
import pathlib
import re
import subprocess
import sys
import time
import unittest

AT_A_TIME = 2
# What takes longest begins first, so that both end at about the same time.
LONGEST = (
    "test_faults", "test_package", "test_soak", "test_openapi", "test_machine", "test_generated", "test_bullseye",
    "test_trixie", "test_storage", "test_history",
)
COUNTS = re.compile(r"^integration tests: (\d+) passed, (\d+) failed$", re.MULTILINE)


class Counting(unittest.TextTestResult):
    """Counts each test once, however many of its parts fail. What fails outside of a test, such as setUpClass, counts
    like a test."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.started = set()
        self.not_passed = set()
        self.failed = set()

    def startTest(self, test):
        super().startTest(test)
        self.started.add(test.id())

    def addError(self, test, error):
        super().addError(test, error)
        self.failed.add(test.id())

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.failed.add(test.id())

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.failed.add(test.id())

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.failed.add(test.id())

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.not_passed.add(test.id())

    @property
    def passed(self):
        return self.started - self.failed - self.not_passed


def say(passed, failed):
    print(f"integration tests: {passed} passed, {failed} failed", flush=True)


def run_here(names):
    """Runs tests in this process; gives back whether all have passed."""
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Counting)
    result = unittest.main(module=None, argv=[sys.argv[0], *names], testRunner=runner, exit=False).result
    say(len(result.passed), len(result.failed))
    return result.wasSuccessful()


def run_module(module):
    """Runs a module in a process of its own."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-B", __file__, module],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done, time.monotonic() - begin


def counts(output):
    """How many tests of a module have passed and failed. A process that died before it could say has failed as one."""
    found = COUNTS.findall(output.decode(errors="replace"))
    return map(int, found[-1]) if found else (0, 1)


def run_all():
    """Runs all modules; gives back whether all tests have passed."""
    modules = {path.stem for path in pathlib.Path(__file__).parent.glob("test_*.py")}
    if missing := set(LONGEST) - modules:
        sys.exit(f"no such modules: {missing}")
    is_good = True
    all_passed = all_failed = 0
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        order = [*LONGEST, *sorted(modules - set(LONGEST))]
        futures = {pool.submit(run_module, module): module for module in order}
        for future in concurrent.futures.as_completed(futures):
            done, seconds = future.result()
            print(f"--- {futures[future]}, {seconds:.0f} s", flush=True)
            sys.stdout.buffer.write(done.stdout)
            sys.stdout.flush()
            passed, failed = counts(done.stdout)
            if done.returncode != 0:
                is_good = False
                failed = max(failed, 1)
            all_passed += passed
            all_failed += failed
    say(all_passed, all_failed)
    return is_good


if __name__ == "__main__":
    sys.exit(0 if (run_here(sys.argv[1:]) if len(sys.argv) > 1 else run_all()) else 1)
