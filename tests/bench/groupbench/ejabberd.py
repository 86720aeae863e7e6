"""An ejabberd of the bench's own, driven over its HTTP API on the loopback interface."""

import json
import os
import time

from . import processes, settings, sockets
from .settings import BENCH, GROUP, HOST, LABEL, PASSWORD


class ApiError(Exception):
	pass


class HttpApi:
	"""One connection that is kept alive."""

	def __init__(self, port):
		self.port = port
		self.sock = sockets.connect(port)

	def send(self, command, **arguments):
		body = json.dumps(arguments).encode()
		self.sock.sendall(
			b"POST /api/%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
			b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
			% (command.encode(), len(body), body)
		)

	def receive(self, timeout=60):
		self.sock.settimeout(timeout)
		data = b""
		while b"\r\n\r\n" not in data:
			data += sockets.receive(self.sock)
		head, _, body = data.partition(b"\r\n\r\n")
		length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
		while len(body) < length:
			body += sockets.receive(self.sock)
		if head.split()[1] != b"200":
			raise ApiError(body.decode())
		return json.loads(body) if body else None

	def call(self, command, **arguments):
		try:
			self.send(command, **arguments)
			return self.receive()
		except ConnectionError:  # ejabberd closes a connection that has been idle for minutes
			self.close()
			self.sock = sockets.connect(self.port)
			self.send(command, **arguments)
			return self.receive()

	def close(self):
		self.sock.close()


class Ejabberd:
	def __init__(self):
		self.process = None

	def start(self):
		folder = settings.fresh_folder("ejabberd")
		self.c2s, http, distribution = sockets.free_ports(3)
		text = (BENCH / "ejabberd" / "ejabberd.yml").read_text()
		for name, value in (("@HOST@", HOST), ("@C2S@", self.c2s), ("@HTTP@", http)):
			text = text.replace(name, str(value))
		for name in ("spool", "logs"):
			(folder / name).mkdir()
		(folder / "ejabberd.yml").write_text(text)
		env = dict(os.environ, HOME=str(folder), ERL_DIST_PORT=str(distribution))
		self.process = processes.start(
			[str(settings.EJABBERD), "--config-dir", str(folder), "--logs", str(folder / "logs"),
				"--spool", str(folder / "spool"), "--node", "groups_bench@localhost", "foreground"],
			folder / "output.log", env, folder,
		)
		self.api = processes.wait_until(lambda: self._connect(http), f"ejabberd to start, see {folder}/output.log", 40)
		self.pids = processes.group_members(self.process.pid)
		return self

	def _connect(self, port):
		if self.process.poll() is not None:
			raise RuntimeError("ejabberd ended at once")
		try:
			api = HttpApi(port)
			api.call("status")
			return api
		except (OSError, ApiError):
			return None

	def register(self, users):
		"""Makes these accounts, unless an earlier scene has made them: all scenes share this server."""
		for user in sorted(set(users) - set(self.api.call("registered_users", host=HOST))):
			self.api.call("register", user=user, host=HOST, password=PASSWORD)

	def create_group(self, members, group=GROUP, label=LABEL):
		self.api.call("srg_create", group=group, host=HOST, label=label, description="", display=[group])
		for user in members:
			self.add(user, group)

	def create_large_group(self, members, group, label):
		"""Shows the group to its members when all are in it: a shown group costs more with each one added."""
		self.api.call("srg_create", group=group, host=HOST, label=label, description="", display=[])
		for user in members:
			self.add(user, group)
		self.api.call("srg_add_displayed", group=group, host=HOST, add=group)

	def send_add(self, user, group=GROUP):
		self.api.send("srg_user_add", user=user, host=HOST, group=group, grouphost=HOST)

	def add(self, user, group=GROUP):
		self.send_add(user, group)
		return self.api.receive()

	def send_remove(self, user, group=GROUP):
		self.api.send("srg_user_del", user=user, host=HOST, group=group, grouphost=HOST)

	def remove(self, user, group=GROUP):
		self.send_remove(user, group)
		return self.api.receive()

	def delete_group(self, group=GROUP):
		return self.api.call("srg_delete", group=group, host=HOST)

	def settle(self, pump=time.sleep):
		for pid in self.pids:
			processes.wait_idle(pid, pump, share=0.1, timeout=10)

	def stop(self):
		if self.process:
			self.api.close()
			processes.stop(self.process)
			self.process = None


def start_or_explain():
	"""Returns a running ejabberd, or None and the reason."""
	if not os.access(settings.EJABBERD, os.X_OK):
		return None, "not installed"
	server = Ejabberd()
	try:
		return server.start(), None
	except Exception as problem:
		if server.process:
			processes.stop(server.process)
		return None, str(problem)
