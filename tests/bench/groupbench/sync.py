"""Rows: a group's first sync, nobody online, and how fast the call itself returns."""

import time

from . import control, processes, prosody, settings, stores
from .report import Row
from .settings import LABEL

PROMISED = 100
SIZES = (40, PROMISED)
LIMIT = 20.0


class Scene:
	def __init__(self, options):
		self.options = options
		self.servers = {}
		if options.module:
			self.servers["ours"] = prosody.Prosody(options, "ours", options.module)
		self.servers["floor"] = prosody.Prosody(options, "floor")
		if options.peer:
			self.servers["peer"] = prosody.Prosody(options, "peer", options.peer)

	def start(self):
		for server in self.servers.values():
			store = stores.Stores(server.data)
			for size in SIZES:
				for run in range(self.options.runs + 1):
					store.accounts(members(size, run))
			server.start()
			server.settle()

	def measure(self, name, size, run):
		"""Returns milliseconds: processor time, wall time until all is in storage, the call itself."""
		server, group, users = self.servers[name], f"g{size}x{run}", members(size, run)
		if name == "floor":
			server.lua(
				f"local members = {{}}; for _, user in ipairs({control.quote(users)}) do members[user] = {{}}; end\n"
				f"return module:open_store('groups'):set('{group}', members)"
			)
			request = prosody.tool("floor_sync", group, LABEL)
		else:
			server.lua(f"return groups.create({{ name = '{LABEL}' }}, false, '{group}')")
			server.tool("add_delayed", group, users)
			request = prosody.tool("time_sync", group)
		server.tool("forget_rosters")
		server.settle(marked=False)  # delayed additions stay open until the sync
		server.calls()
		before, start = server.cpu(), time.perf_counter()
		call = server.lua("return " + request)
		saved = 0

		def all_are_saved():
			nonlocal saved
			saved += server.calls().get("roster write", 0)
			return saved >= size

		processes.wait_until(all_are_saved, "all contact lists to be in storage", LIMIT)
		wall = time.perf_counter() - start
		server.settle()
		return {"cpu": (server.cpu() - before) * 1000, "wall": wall * 1000, "call": call}

	def run(self, size):
		samples = {"cpu": {}, "wall": {}, "call": {}, "left": {}}
		for run in range(self.options.runs + 1):
			for name in list(self.servers):
				try:
					taken = self.measure(name, size, run)
				except TimeoutError as problem:
					if name != "peer":
						raise
					samples["left"]["peer"] = f"more than {LIMIT:.0f} s: {problem}"
					self.servers.pop("peer").kill()
					continue
				if run > 0:
					for what, value in taken.items():
						samples[what].setdefault(name, []).append(value)
		samples["call"].pop("floor")
		return samples

	def end(self):
		for server in self.servers.values():
			server.stop()


def members(size, run):
	return [f"s{size}x{run}x{i}" for i in range(size)]


def rows(options, _ejabberd, note):
	scene = Scene(options)
	try:
		scene.start()
		for size in SIZES:
			note(f"first sync of {size}")
			yield from size_rows(scene.run(size), size)
	finally:
		scene.end()


def size_rows(samples, size):
	what = f"first sync of {size}, nobody online: "
	cpu = Row.of("sync", what + "processor time", "ms", samples["cpu"], size=size)
	wall = Row.of("sync-wall", what + "until all is in storage", "ms", samples["wall"], size=size)
	call = Row.of("sync-call", what + "the call itself", "ms", samples["call"], size=size)
	if size == PROMISED:
		cpu.promise, wall.promise, call.promise = "≤ 1.3 × floor", "≤ 4 × floor", "≤ 15 ms"
		cpu.at_most(1.3)
		wall.at_most(4)
		call.under(15)
	yield from (cpu.left(samples["left"]), wall, call)
