"""Where the measured servers store: files, SQLite, or PostgreSQL. Scenes write files; where storage is SQL, Prosody itself
takes them into a database before the server that is measured starts."""

import atexit
import functools
import itertools
import shutil
import subprocess

from . import prosody, settings, sockets, stores
from .settings import HOST, TOP

NAMES = {"internal": "file storage", "sqlite": "SQLite", "postgres": "PostgreSQL"}
SCRIPT = TOP / "spec" / "support" / "postgresql"

LIMIT = 1800.0  # seconds for taking in the largest scene

_numbers = itertools.count(1)


def config(options, data):
	"""Returns the lines of the configuration."""
	if options.storage == "internal":
		return 'storage = "internal"'
	if options.storage == "sqlite":
		return f'storage = "sql"\nsql = {{ driver = "SQLite3", database = "{data}/prosody.sqlite" }}'
	return (
		'storage = "sql"\nsql = { driver = "PostgreSQL", host = "127.0.0.1", username = "postgres", '
		f'port = {_postgres()}, database = "{_database(data)}" }}'
	)


def prepare(options, data):
	"""Takes the files of a folder into the database that belongs to it."""
	files = data / stores.encode(HOST)
	if options.storage == "internal" or not files.exists():
		return
	taken = settings.fresh_folder("files") / "host"
	shutil.move(files, taken)
	importer = prosody.Prosody(options, "importer")
	importer.data = data
	importer.start()
	importer.tool("take_files", str(taken), timeout=LIMIT)
	importer.stop()
	shutil.rmtree(taken)


def take_over(options, data):
	"""Gives a copied folder a database of its own, with what the other's has."""
	if options.storage == "postgres" and (data / NAME).exists():
		_make_database(data, (data / NAME).read_text())


NAME = "database"


def _database(data):
	"""Returns the name of a folder's database, which is made where there is none."""
	if not (data / NAME).exists():
		_make_database(data)
	return (data / NAME).read_text()


def _make_database(data, *template):
	name = f"bench{next(_numbers)}"
	_tell_postgres("create", name, *template)
	(data / NAME).write_text(name)


def _tell_postgres(command, *arguments):
	subprocess.run([SCRIPT, command, str(_postgres()), *arguments], check=True)


@functools.cache
def _postgres():
	"""Starts a server that ends with this process. Returns its port."""
	[port] = sockets.free_ports(1)
	folder = settings.fresh_folder("postgresql") / "server"
	keeper = subprocess.Popen([SCRIPT, "serve", folder, str(port)], stdin=subprocess.PIPE, start_new_session=True)
	atexit.register(lambda: (keeper.stdin.close(), keeper.wait()))
	subprocess.run([SCRIPT, "wait", str(port)], check=True)
	return port
