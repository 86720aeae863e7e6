"""Rows: bind and contact list at a login, with the module and without, the same contacts in storage."""

import random
import shutil
import time

from . import clients, processes, prosody, settings, stores
from .report import Row

SIZES = (50, 200, 500)
PROMISED = 500


def members(size):
	return [f"l{size}x{i}" for i in range(size)]


class Scene:
	def __init__(self, options, ejabberd):
		self.options, self.ejabberd = options, ejabberd
		self.sizes = SIZES[:2] if options.quick else SIZES
		self.servers = {}

	def start(self):
		template = settings.fresh_folder("template")
		self._fill(stores.Stores(template))
		modules = (("ours", self.options.module), ("peer", self.options.peer))
		for name, plugins in modules:
			if plugins:
				server = self.servers[name] = prosody.Prosody(self.options, name, plugins)
				server.fill(template)
				server.start().settle()
				server.stop()
		floor = self.servers["floor"] = prosody.Prosody(self.options, "floor")
		floor.fill(self.servers["ours"].data if "ours" in self.servers else template)
		for server in self.servers.values():
			server.start().settle()
		if self.ejabberd:
			for size in self.sizes:
				self.ejabberd.register(members(size))
				self.ejabberd.create_group(members(size), f"l{size}", f"Team of {size}")
			self.servers["ejabberd"] = self.ejabberd
		shutil.rmtree(template)

	def _fill(self, store):
		for size in self.sizes:
			store.accounts(members(size))
			store.group(members(size), f"l{size}", f"Team of {size}")
		store.rosters([(f"Team of {size}", members(size)) for size in self.sizes])

	def login(self, server, user, size):
		"""Returns the milliseconds from the request to bind to the last byte of the contact list."""
		client = clients.Client(server.c2s, user)
		client.authenticate()
		start = time.perf_counter()
		roster = client.bind_and_get_roster()
		took = (time.perf_counter() - start) * 1000
		client.close()
		count = roster.count(b"<item ")
		if count != size - 1:
			raise RuntimeError(f"{user} was given {count} contacts instead of {size - 1}")
		return took

	def run(self, size, logins):
		"""Measures logins, each of another member: no contact list is loaded already.

		The Prosodys take turns, in another order each time, since the work that one leaves may slow the next down.
		Each begins with a full collection: equal logins would otherwise meet Lua's collector at the same point every
		time, and at another one on each server. ejabberd comes last, for it spins after its work."""
		samples, prosodys = {}, sorted(name for name in self.servers if name != "ejabberd")
		for number in range(-5, logins):
			for name in random.Random(number).sample(prosodys, len(prosodys)):
				self.servers[name].tool("collect")
				self._sample(samples, name, size, number)
				processes.wait_idle(self.servers[name].pid, time.sleep, quiet=0.02, share=0.1)
		for number in range(-5, logins if "ejabberd" in self.servers else -5):
			self._sample(samples, "ejabberd", size, number)
		return samples

	def _sample(self, samples, name, size, number):
		took = self.login(self.servers[name], members(size)[number % size], size)
		if number >= 0:
			samples.setdefault(name, []).append(took)

	def end(self):
		for server in self.servers.values():
			if server is not self.ejabberd:
				server.stop()


def rows(options, ejabberd, note):
	scene = Scene(options, ejabberd)
	try:
		note("logins: starting")
		scene.start()
		for size in scene.sizes:
			logins = 20 if options.quick else 200 if size == PROMISED else 50
			note(f"{logins} logins into a group of {size}")
			work = f"login into a group of {size}: bind and contact list"
			row = Row.of("login", work, "ms", scene.run(size, logins), size=size)
			if size == PROMISED:
				row.promise = "≤ 1.1 × module off"
				row.at_most(1.1)
			yield row
	finally:
		scene.end()
