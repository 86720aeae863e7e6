"""Rows: what a login's first presence costs where most of the group is offline; and all of a group who log in at once."""

import shutil
import statistics
import time

from . import clients, login, pinger, processes, prosody, settings, stores
from .report import Row

FEW = 50  # contacts who are online
GROUPS = ((100, "permanent"), (500, "permanent"), (2000, "virtual"))
QUICK_GROUPS = ((100, "permanent"), (200, "virtual"))
WARM = 3  # logins before those that count
WITHOUT = 3  # logins that count without fast presence: each takes long
STORM = 300
LIMIT = 120.0
PINGING = "pinging"
HERE = b"<status>here</status>"

members = login.members


class Side:
	"""A server with a group, some of whose members are online, and a client that pings."""

	def __init__(self, options, name, size, mode, fast=True):
		self.users, self.mode = members(size), mode
		self.pinger = self.swarm = None
		self.server = prosody.Prosody(
			options, name, options.module if name != "floor" else None,
			{"groups_roster_mode": mode, "groups_fast_presence": fast} if name != "floor" else None,
		)

	def start(self):
		store = stores.Stores(self.server.data)
		store.accounts([*self.users, PINGING])
		if self.server.load:
			store.group(self.users)
		if self.mode == "permanent":
			store.rosters([(settings.LABEL, self.users)])
		self.server.start().settle()
		self.swarm = clients.Swarm(self.server.c2s)
		self.pinger = pinger.Pinger(self.server.c2s, PINGING)
		return self

	def begin(self):
		for user in self.users[:FEW]:
			self.swarm.login(user, HERE)
		self.server.settle(self.swarm.pump)
		return self

	def stall(self, number):
		"""Returns the longest round trip after the first presence of a member, in milliseconds."""
		user = self.users[FEW + number % (len(self.users) - FEW)]
		client = clients.Client(self.server.c2s, user)
		client.authenticate()
		client.bind_and_get_roster()
		self.swarm.take(client)
		self.server.tool("collect")
		self._idle()
		self.pinger.start()
		start = time.perf_counter()
		self.swarm.expect(client, (HERE, FEW + 1))
		client.available(HERE)
		self.swarm.wait(LIMIT)
		self._idle()
		stall = self.pinger.stop(start)
		self.swarm.logout(client)
		self._idle()
		return stall

	def _idle(self):
		# The client that pings takes its share.
		end = time.perf_counter() + 0.1
		while time.perf_counter() < end:
			self.swarm.pump(0.02)

	def storm(self):
		"""Logs everybody in. Returns the seconds until each has seen all others, and the longest round trip in ms."""
		everybody = []
		for user in self.users:
			client = clients.Client(self.server.c2s, user)
			client.authenticate()
			everybody.append(self.swarm.take(client))
		self.server.tool("collect")
		self.server.settle(self.swarm.pump)
		self.pinger.start()
		start = time.perf_counter()
		for client in everybody:
			self.swarm.expect(client, (HERE, len(everybody)))
			client.sock.sendall(clients.BIND + clients.ROSTER + clients.presence(HERE))
			self.swarm.pump(0)
		took = self.swarm.wait(LIMIT) - start
		return took, self.pinger.stop(start)

	def end(self):
		for client in (self.pinger, self.swarm):
			if client:
				client.close()
		self.server.kill()
		shutil.rmtree(self.server.folder, ignore_errors=True)


def stall_rows(options, _ejabberd, note):
	if not options.module:
		return
	logins = 4 if options.quick else max(4 * options.runs, 8)
	for size, mode in QUICK_GROUPS if options.quick else GROUPS:
		note(f"first presence in a group of {size}, {mode}")
		sides = {
			"ours": Side(options, "ours", size, mode),
			"floor": Side(options, "floor", FEW + 1, "permanent"),
			"off": Side(options, "off", size, mode, fast=False),
		}
		samples = {name: [] for name in sides}
		try:
			for side in sides.values():
				side.start().begin()
			for number in range(-WARM, logins):
				for name, side in sides.items():
					if name == "off" and number >= WITHOUT:
						continue
					stall = side.stall(number + WARM)
					if number >= 0:
						samples[name].append(stall)
		finally:
			for side in sides.values():
				side.end()
		off = statistics.median(samples.pop("off"))
		work = f"longest stall after a login's first presence, {mode} group of {size:,}, {FEW} online"
		notes = [f"with `groups_fast_presence = false`: {off:.1f} ms"]
		row = Row.of("presence", work + f" (floor: {FEW} contacts)", "ms", samples, size=size, notes=notes)
		row.promise = "≤ 1.5 × floor"
		yield row.at_most(1.5)


def storm_rows(options, _ejabberd, note):
	if not options.module:
		return
	size = 60 if options.quick else STORM
	modes = ("permanent", "virtual")
	took, stalls = {}, {}
	for _ in range(options.runs):
		for name, mode in (("floor", "permanent"), *(("ours", mode) for mode in modes)):
			note(f"all {size} of a group log in: {name}, {mode}")
			side = Side(options, name, size, mode).start()
			try:
				seconds, stall = side.storm()
			finally:
				side.end()
			took.setdefault((name, mode), []).append(seconds)
			stalls.setdefault((name, mode), []).append(stall)
	for mode in modes:
		for key, unit, samples, what in (
			("storm", "s", took, "until each sees all"), ("storm-stall", "ms", stalls, "longest stall"),
		):
			sides = {"ours": samples["ours", mode], "floor": samples["floor", "permanent"]}
			work = f"all {size} of a group log in at once, {mode}: {what} (floor: the module off, the same list in storage)"
			yield Row.of(key, work, unit, sides, promise="≤ 0.5 × floor", size=size).at_most(0.5)
