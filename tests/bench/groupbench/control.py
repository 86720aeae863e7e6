"""Runs Lua inside a Prosody: the client's side of mod_spec_control."""

import json

from . import sockets


class LuaError(Exception):
	pass


class Control:
	def __init__(self, port):
		self.sock = sockets.connect(port)
		self.buffer = b""

	def send(self, source):
		data = source.encode()
		self.sock.sendall(b"%d\n%s" % (len(data), data))

	def receive(self, timeout=120):
		"""Returns the results of the last request. Raises TimeoutError when they do not come."""
		self.sock.settimeout(timeout)
		while True:
			head, newline, rest = self.buffer.partition(b"\n")
			if newline and len(rest) >= int(head):
				break
			self.buffer += sockets.receive(self.sock)
		self.buffer = rest[int(head):]
		answer = json.loads(rest[:int(head)])
		if not answer["ok"]:
			raise LuaError(answer["error"])
		return list(answer["result"])

	def run(self, source, timeout=120):
		self.send(source)
		return self.receive(timeout)

	def close(self):
		self.sock.close()


def quote(value):
	"""Writes a Python value as a Lua expression."""
	if isinstance(value, bool):
		return "true" if value else "false"
	if isinstance(value, (int, float)):
		return repr(value)
	if isinstance(value, dict):
		return "{" + ",".join(f"{key}={quote(one)}" for key, one in value.items()) + "}"
	if isinstance(value, (list, tuple)):
		return "{" + ",".join(map(quote, value)) + "}"
	return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def call(name, *arguments):
	return f"{name}({', '.join(map(quote, arguments))})"
