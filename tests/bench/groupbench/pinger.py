"""A client in a process of its own that pings the server back to back: its longest wait is the server's stall."""

import json
import pathlib
import select
import subprocess
import sys

from .clients import Client


def _serve(port, user):
	client = Client(port, user)
	client.authenticate()
	client.bind_and_get_roster()
	print("ready", flush=True)
	for command in sys.stdin:
		if command.strip() == "start":
			print(json.dumps(_ping_until_told(client)), flush=True)


def _ping_until_told(client):
	"""Returns the longest round trips as [start, end], worst first."""
	for _ in range(20):
		client.ping()
	print("pinging", flush=True)
	pings = []
	while not select.select([sys.stdin], [], [], 0)[0]:
		pings.append(client.ping())
	sys.stdin.readline()
	pings.sort(key=lambda ping: -ping[1])
	return [[began, began + took] for began, took in pings[:50]]


class Pinger:
	def __init__(self, port, user):
		here = pathlib.Path(__file__).resolve()
		self.process = subprocess.Popen(
			[sys.executable, "-m", "groupbench.pinger", str(port), user],
			cwd=here.parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
		)
		self._answer()

	def _answer(self):
		line = self.process.stdout.readline()
		if not line:
			raise ConnectionError("the pinging client has ended")
		return line

	def _say(self, command):
		self.process.stdin.write(command + "\n")
		self.process.stdin.flush()

	def start(self):
		self._say("start")
		self._answer()

	def stop(self, since):
		"""Returns the longest round trip, in ms, that ended after `since`."""
		self._say("stop")
		return max(((end - began) * 1000 for began, end in json.loads(self._answer()) if end >= since), default=0.0)

	def close(self):
		self.process.stdin.close()
		self.process.kill()
		self.process.wait()


if __name__ == "__main__":
	_serve(int(sys.argv[1]), sys.argv[2])
