"""Rows: 10,000 groups of 100, a million memberships: look-ups, memory, start-up."""

import shutil

from . import processes, prosody, settings, stores
from .report import Row
from .settings import MODULE

FIVE = "fivefold"
LIMIT = 60.0


STRIDES = (1, 3, 7, 9, 11, 13, 17, 19, 21, 23)  # no factor in common with 100: nobody is twice in a group or a lap


def fill(data, groups, users):
	"""Writes groups: everybody is in exactly ten, with other members each time, and one user is in five."""
	store = stores.Stores(data)
	for number in range(groups):
		stride = STRIDES[number * 100 // users]
		members = [f"user{(number * 100 + i * stride) % users}" for i in range(100)]
		store.group(members + ([FIVE] if number < 5 else []), f"group{number}", f"Group {number}")


class Scene:
	def __init__(self, options):
		self.options = options
		self.groups = 1000 if options.quick else 10000
		self.samples = {key: {} for key in ("memory", "lua", "start", "get_user_groups", "get_info", "exists")}
		self.notes = []

	def sides(self):
		found = {"ours": self.options.module, "floor": None, "peer": self.options.peer}
		return {name: plugins for name, plugins in found.items() if plugins or name == "floor"}

	def prepare(self):
		"""Makes a server for each side. A module's first start is on empty storage: no contact list is open work."""
		template = settings.fresh_folder("template")
		fill(template, self.groups, self.groups * 10)
		self.servers = {}
		for name, plugins in self.sides().items():
			server = self.servers[name] = prosody.Prosody(self.options, name, plugins)
			(server.data / stores.encode(settings.HOST)).mkdir()
			server.start().settle()
			server.stop()
			server.load = False
			shutil.copytree(template, server.data, dirs_exist_ok=True)
		shutil.rmtree(template)

	def run(self):
		for run in range(self.options.runs):
			for name, server in self.servers.items():
				server.start()
				try:
					self.measure(name, server, last=run == self.options.runs - 1)
				finally:
					server.kill()

	def measure(self, name, server, last):
		empty = self._memory(server)
		if name == "floor":
			read = server.tool("floor_read", timeout=LIMIT)
			if read["groups"] != self.groups:
				raise RuntimeError(f"{read['groups']} groups were read instead of {self.groups}")
			self._add("start", name, read["ms"])
			return
		self._add("start", name, server.tool("time_load", MODULE, timeout=LIMIT))
		self._check(name, server)
		server.settle()
		full = self._memory(server)
		self._add("memory", name, (full[0] - empty[0]) / 1e6)
		self._add("lua", name, (full[1] - empty[1]) / 1e6)
		if last:
			self._look_up(name, server)

	def _check(self, name, server):
		"""Fails unless all groups are there when loading returns: only then is the start-up done."""
		count = server.lua("return prosody.hosts[host].modules.groups_internal.get_user_groups('" + FIVE + "')")
		known = server.lua(f"return prosody.hosts[host].modules.groups_internal.exists('group{self.groups - 1}')")
		if len(count) != 5 or known is not True:
			raise RuntimeError(f"{name}: not all groups are there after loading: {count}, {known}")

	def _memory(self, server):
		lua = server.tool("collect") * 1024
		return processes.resident_bytes(server.pid), lua

	def _look_up(self, name, server):
		slow = name == "peer"
		batches, calls = (1, 1) if slow else (20, 1000)
		for function, argument in (("get_user_groups", FIVE), ("get_info", "group77"), ("exists", "group77")):
			for _ in range(1 if slow else self.options.runs):
				self._add(function, name, server.tool("time_calls", function, batches, calls, argument, timeout=LIMIT))

	def _add(self, key, name, value):
		self.samples[key].setdefault(name, []).append(value)

	def end(self):
		for server in self.servers.values():
			server.kill()


def rows(options, _ejabberd, note):
	scene = Scene(options)
	note(f"{scene.groups} groups of 100: writing them")
	scene.prepare()
	try:
		note(f"{scene.groups} groups of 100: loading them")
		scene.run()
	finally:
		scene.end()
	among = f"among {scene.groups:,} groups"
	for function, whose in (("get_user_groups", " of a user in 5"), ("get_info", ""), ("exists", "")):
		work = f"{function}{whose}, {among}"
		yield Row.of("lookups", work, "µs", scene.samples[function], promise="< 5 µs").under(5)
	memberships = f"{scene.groups * 100:,} memberships"
	memory = Row.of("memory", f"{memberships}: resident memory above an empty Prosody", "MB", scene.samples["memory"])
	memory.promise = "< 100 MB"
	if "ours" in scene.samples["lua"]:
		memory.notes.append(f"of it in Lua: {scene.samples['lua']['ours'][0]:.1f} MB")
	yield memory.under(100)
	start = Row.of("start", f"{memberships}: start-up (floor: reading the records)", "ms", scene.samples["start"])
	start.promise = "≤ 1.5 × floor"
	yield start.at_most(1.5)
