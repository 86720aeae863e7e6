"""What a run is asked to do, and where things are."""

import atexit
import fcntl
import functools
import os
import pathlib
import shutil
import sys
import tempfile
from dataclasses import dataclass, field

TOP = pathlib.Path(__file__).resolve().parents[3]
BENCH = TOP / "tests" / "bench"
TARGET = TOP / "target"
OUT = TARGET / "bench"
HOST = "bench.test"
GROUP = "team"
LABEL = "The team"
PASSWORD = "secret"
MODULE = "groups_internal"


@dataclass
class Settings:
	prosody: str
	prosody_version: str
	storage: str
	runs: int
	quick: bool
	only: set = field(default_factory=set)
	module: pathlib.Path | None = None
	peer: pathlib.Path | None = None

	def wants(self, *keys):
		return not self.only or any(key in self.only for key in keys)


def find_prosody(wanted):
	"""Returns start script and name of the wanted version. A path is a start script itself."""
	if "/" in wanted:
		return wanted, pathlib.Path(wanted).resolve().parents[1].name
	own = TARGET / "prosody" / wanted / "bin" / "prosody"
	if own.exists():
		return str(own), wanted
	raise SystemExit(f"Prosody {wanted} is not at {own}: run 'make bench', which provides it.")


def find_module():
	"""Returns the folder for plugin_paths, or None if nothing was built. A copy: a build meanwhile changes nothing."""
	built = TARGET / "plugins"
	if not (built / f"mod_{MODULE}" / f"mod_{MODULE}.lua").exists():
		return None
	copy = fresh_folder("module")
	shutil.copytree(built, copy, dirs_exist_ok=True)
	return copy


def find_peer(given):
	if not given:
		return None
	folder = pathlib.Path(given).resolve()
	if (folder / f"mod_{MODULE}.lua").exists() or (folder / f"mod_{MODULE}").is_dir():
		return folder
	raise SystemExit(f"PEER: there is no mod_{MODULE}.lua in {folder} or in a folder mod_{MODULE} of it.")


EJABBERD = TARGET / "ejabberd" / "bin" / "ejabberdctl"


def ejabberd_version():
	"""Returns the version as ejabberd's makers count: without the distribution's part."""
	return (TARGET / "ejabberd" / "version").read_text().partition("-")[0]


def fresh_folder(*parts):
	"""Makes an empty folder below this run's own, which is removed when the run ends."""
	folder = _own_folder().joinpath(*parts)
	shutil.rmtree(folder, ignore_errors=True)
	folder.mkdir(parents=True)
	return folder


MEMORY = pathlib.Path("/dev/shm")
ROOM = 4 << 30  # bytes that a run may need


def in_memory():
	"""Are the servers' files in memory? The disk of a shared machine pauses for longer than anything measured here."""
	return os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM


@functools.cache
def _own_folder():
	OUT.mkdir(parents=True, exist_ok=True)
	folder = pathlib.Path(tempfile.mkdtemp(prefix="groupbench-", dir=MEMORY if in_memory() else OUT))
	atexit.register(shutil.rmtree, folder, ignore_errors=True)
	return folder


def only_one():
	"""Waits until no other run measures: two at once measure each other. The caller keeps the returned lock."""
	OUT.mkdir(parents=True, exist_ok=True)
	lock = (OUT / "lock").open("w")
	try:
		fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
	except BlockingIOError:
		print("Another run of the bench is at work; waiting for its end ...", file=sys.stderr, flush=True)
		fcntl.flock(lock, fcntl.LOCK_EX)
	return lock
