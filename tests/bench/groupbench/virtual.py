"""Rows: `groups_roster_mode = "virtual"`: logins into large groups, and what contact lists take in storage."""

import shutil

from . import clients, login, prosody, settings, stores
from .report import Row
from .settings import GROUP, LABEL

SIZES = (1000, 5000)
QUICK_SIZES = (100, 300)
LOGINS = {1000: 50, 5000: 25}
WARM = 5  # logins before those that count
HELD = 20  # sessions at the same time, for what each takes
LIMIT = 600.0  # seconds until all lists are to be in storage
VIRTUAL = {"groups_roster_mode": "virtual"}

members = login.members


class Logins(login.Scene):
	"""Ours computes the lists. The floor has those of users who log in in storage: all would take gigabytes."""

	def __init__(self, options, ejabberd):
		super().__init__(options, ejabberd)
		self.sizes = QUICK_SIZES if options.quick else SIZES

	def logins(self, size):
		return LOGINS.get(size, 10)

	def start(self):
		template = settings.fresh_folder("template")
		store = stores.Stores(template)
		for size in self.sizes:
			store.accounts(members(size))
		if self.options.module:
			ours = prosody.Prosody(self.options, "ours", self.options.module, host_options=VIRTUAL)
			ours.fill(template)
			self.servers["ours"] = ours
		for size in self.sizes:
			for number in range(-WARM, self.logins(size)):
				store.roster(members(size)[number], members(size), f"Team of {size}")
		floor = self.servers["floor"] = prosody.Prosody(self.options, "floor")
		floor.fill(template)
		shutil.rmtree(template)
		for server in self.servers.values():
			server.start().settle()
		for size in self.sizes if self.options.module else ():
			self.servers["ours"].groups("create", {"name": f"Team of {size}"}, False, f"l{size}")
			self.servers["ours"].groups("add_members", f"l{size}", members(size))
		if self.ejabberd:
			for size in self.sizes:
				self.ejabberd.register(members(size))
				self.ejabberd.create_large_group(members(size), f"l{size}", f"Team of {size}")
			self.servers["ejabberd"] = self.ejabberd

	def held(self, size):
		"""Returns by server what Lua holds for each session of a member, in kilobytes."""
		return {name: [held_by(server, members(size)[:HELD])] for name, server in self.servers.items() if name != "ejabberd"}

	def end(self):
		super().end()
		if "ejabberd" in self.servers:
			for size in self.sizes:
				self.ejabberd.delete_group(f"l{size}")


def held_by(server, users):
	def in_use():
		server.tool("collect")
		return server.lua("return collectgarbage('count')")

	online = [clients.Client(server.c2s, user) for user in users]
	try:
		online[0].authenticate()
		online[0].bind_and_get_roster()  # what all share
		before = in_use()
		for client in online[1:]:
			client.authenticate()
			client.bind_and_get_roster()
		return (in_use() - before) / (len(online) - 1)
	finally:
		for client in online:
			client.close()


def login_rows(options, ejabberd, note):
	scene = Logins(options, ejabberd)
	try:
		note("virtual contact lists: starting")
		scene.start()
		for size in scene.sizes:
			note(f"{scene.logins(size)} logins into a virtual group of {size}")
			work = f"login into a virtual group of {size:,}: bind and contact list (floor: list in storage)"
			samples = scene.run(size, scene.logins(size))
			yield Row.of("virtual-login", work, "ms", samples, promise="≤ 0.6 × floor", size=size).at_most(0.6)
			work = f"Lua's memory for a session in a virtual group of {size:,} (floor: list in storage)"
			yield Row.of("virtual-memory", work, "kB", scene.held(size), promise="≤ 0.5 × floor", size=size).at_most(0.5)
	finally:
		scene.end()


def storage_rows(options, _ejabberd, note):
	if options.storage != "internal":
		return note("what contact lists take in storage is measured with files")
	size = 100 if options.quick else 1000
	for mode, host_options in (("permanent", {}), ("virtual", VIRTUAL)):
		if options.module:
			note(f"contact lists of a group of {size} in storage, {mode}")
			taken = stored_bytes(options, size, host_options) / 1000
			work = f"contact lists of a group of {size:,} in storage, {mode}, as the module's own sync leaves them"
			yield Row.of("storage", work, "kB", {"ours": [taken]}, size=size)


def stored_bytes(options, size, host_options):
	"""Returns the size of everything but accounts and groups, once a group that was in storage is settled."""
	server = prosody.Prosody(options, "ours", options.module, host_options=host_options)
	store = stores.Stores(server.data)
	store.accounts(members(size))
	store.group(members(size), GROUP, LABEL)
	try:
		server.start()
		server.groups("sync", GROUP)
		server.settle(timeout=LIMIT)
		return stores.contact_bytes(server.data)
	finally:
		server.kill()
