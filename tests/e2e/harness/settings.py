"""Where things are, and which Prosody is under test."""

import os
import pathlib
import random
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
TARGET = ROOT / "target"
PLUGINS = pathlib.Path(os.environ.get("E2E_PLUGINS") or TARGET / "plugins")
CONTROL_PLUGINS = ROOT / "spec" / "support" / "plugins"
SCRATCH = TARGET / "e2e"
TIMEOUT = float(os.environ.get("E2E_TIMEOUT", "20"))
LOG_LEVEL = os.environ.get("E2E_LOG_LEVEL", "info")

HOST = "localhost"
CHAT_HOST = "groups.localhost"
PASSWORD = "secret"

#: The version under test and its start script; run.py sets both before it runs a suite.
version = "none"
prosody = ""


def servers():
    """Returns the Prosodys to test: version -> start script."""
    found = {}
    for name in ("0.12", "13"):
        path = os.environ.get("E2E_PROSODY_" + name.replace(".", "_"))
        if path != "":
            found[name] = path or str(TARGET / "prosody" / name / "bin" / "prosody")
    return found


def seeded(purpose):
    """Returns a random generator. Its seed is on the output: E2E_SEED replays a failure."""
    seed = os.environ.get("E2E_SEED") or str(random.SystemRandom().randrange(1_000_000))
    print(f"      seed of {purpose}: {seed} (replay with E2E_SEED={seed})", file=sys.stderr)
    return random.Random(f"{purpose} {seed}")
