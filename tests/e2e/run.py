"""Runs the suites once for each Prosody version; the last line says `N passed, N failed`."""

import logging
import os
import pathlib
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import settings  # noqa: E402


class Result(unittest.TestResult):
    """Prints a line for each test as it ends, and below it what went wrong."""

    def __init__(self):
        super().__init__()
        self.passed = 0
        self.bad = 0
        self.started = 0.0
        self.outcome = None

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()
        self.outcome = None

    def addSuccess(self, test):
        self.outcome = self.outcome or "ok"

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.outcome = "FAILED"

    def addError(self, test, err):
        super().addError(test, err)
        self.outcome = "FAILED"

    def stopTest(self, test):
        super().stopTest(test)
        self.passed += self.outcome == "ok"
        self.bad += self.outcome == "FAILED"
        seconds = time.monotonic() - self.started
        print(f"  {self.outcome or 'skipped':7} {sentence(test)} ({seconds:.1f} s)", flush=True)
        for _, trace in self.errors + self.failures:
            print("      " + trace.replace("\n", "\n      "), flush=True)
        if self.outcome == "FAILED" and hasattr(test, "server"):
            print(f"      (its server: {test.server.folder.relative_to(settings.ROOT)})", flush=True)
        self.errors.clear()
        self.failures.clear()


def sentence(test):
    name = test.id().split(".")[-1].removeprefix("test_").replace("_", " ")
    storage = getattr(test, "storage", "internal")
    return name if storage == "internal" else f"{name} (storage: {storage})"


def tests_in(suite):
    for entry in suite:
        if isinstance(entry, unittest.TestSuite):
            yield from tests_in(entry)
        else:
            yield entry


def load(words):
    """Finds the tests whose module, class or name contains one of the words. Without words, all."""
    suite = unittest.defaultTestLoader.discover(str(HERE), pattern="test_*.py", top_level_dir=str(HERE))
    return [test for test in tests_in(suite) if not words or any(word in test.id() for word in words)]


def run_version(version, prosody, words):
    print(f"Prosody {version}", flush=True)
    if not os.access(prosody, os.X_OK):
        print(f"  FAILED  no Prosody at {prosody}: run 'make test', which installs it")
        return 0, 1
    settings.version, settings.prosody = version, prosody
    result = Result()
    for test in load(words):
        test(result)
    return result.passed, result.bad


def main(words):
    for library in ("slixmpp", "asyncio"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    started = time.monotonic()
    passed = failed = 0
    plugin = settings.PLUGINS / "mod_groups_internal"
    if not (plugin / "mod_groups_internal.lua").exists():
        print(f"no module in {plugin}: run 'make build'")
        failed = 1
    else:
        for version, prosody in settings.servers().items():
            counts = run_version(version, prosody, words)
            passed, failed = passed + counts[0], failed + counts[1]
    print(f"end to end in {time.monotonic() - started:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
