"""Rows: groups with chats. Costs are the server's processor time until the rooms are in storage: a room is saved after
the call that changes it. Contact lists are virtual and nobody is online, so that nothing else is at work."""

import contextlib

from . import control, prosody, settings, stores
from .report import Row
from .settings import GROUP, HOST, LABEL

CHATS = f"groups.{HOST}"
OPTIONS = {"groups_muc_host": CHATS, "groups_roster_mode": "virtual"}
ONE = "late"

# What is done to a full group, one after the other: in words, the function, and its arguments after the id.
CHANGES = (
	("one added", "add_member", (ONE,)),
	("one removed", "remove_member", (ONE,)),
	("a chat added", "add_group_chat", ("Another chat",)),
	("renamed", "set_info", ({"name": "Another name"},)),
	("deleted", "delete", ()),
)


def rows(options, _ejabberd, note):
	size = 50 if options.quick else 500
	for chats in (1, 2):
		note(f"a group of {size} with {chats} chats")
		samples = measured(options, size, chats)
		words = f"a group with {'a chat' if chats == 1 else f'{chats} chats'}"
		row = Row.of("chats", f"{words} grown to {size} in one loop", "ms", samples.pop("grown"), promise="≤ 0.5 × floor")
		yield row.at_most(0.5)
		for work, found in samples.items():
			yield Row.of("chats", f"{words}, {size} members: {work}", "ms", found, promise="≤ 1.3 × floor").at_most(1.3)


def measured(options, size, chats):
	"""Returns samples by what was done, and by side. The sides take turns. The first round does not count."""
	users = [f"chat{i}" for i in range(size)]
	template = settings.fresh_folder("template")
	stores.Stores(template).accounts([*users, ONE])
	samples = {}
	with servers(options, template, Ours, Floor) as sides:
		for number in range(options.runs + 1):
			for name, side, server in sides:
				for work, cost in side(server, f"{GROUP}{number}", chats).round(users):
					if number > 0:
						samples.setdefault(work, {}).setdefault(name, []).append(cost)
	return samples


@contextlib.contextmanager
def servers(options, template, ours, floor):
	"""Runs a server for each side, from the same files. Yields names, sides and servers: the sides take turns, for a
	machine that others use is not equally fast all the time."""
	started = []
	try:
		for name, side, plugins in (("ours", ours, options.module), ("floor", floor, None)):
			if plugins or name == "floor":
				server = new_server(options, name, plugins)
				server.fill(template)
				started.append((name, side, server.start()))
		yield started
	finally:
		for _, _, server in started:
			server.kill()


def new_server(options, name, plugins):
	component = f'Component "{CHATS}" "muc"\n'
	return prosody.Prosody(options, name, plugins, OPTIONS, ["message", "offline"], component)


class Ours:
	def __init__(self, server, group, chats):
		self.server, self.group, self.chats = server, group, chats

	def round(self, users):
		self.start()
		idle = self.idle()
		yield "grown", self.cost(self.grow(users)) - idle
		for work, name, arguments in CHANGES:
			yield work, self.cost(self.change(name, arguments)) - idle

	def idle(self):
		"""What a measurement costs in which nothing is done, and in which Lua's collector does nothing either."""
		return min(self.cost("return true") for _ in range(5))

	def cost(self, source):
		self.server.settle()
		before = self.server.lua("return os.clock()")
		self.server.lua(source)
		self.server.settle()
		return (self.server.lua("return os.clock()") - before) * 1000

	def start(self):
		self.server.lua(f"return groups.create({{ name = '{LABEL}' }}, true, '{self.group}')")
		for number in range(1, self.chats):
			self.server.groups("add_group_chat", self.group, f"Chat {number}")

	def grow(self, users):
		return "return " + prosody.tool("grow", self.group, users)

	def change(self, name, arguments):
		return f"assert({control.call('groups.' + name, self.group, *arguments)})"


class Floor(Ours):
	def start(self):
		self.server.tool("floor_chats", self.group, CHATS, self.chats)

	def grow(self, users):
		return "return " + prosody.tool("floor_chats_grow", self.group, users)

	def change(self, name, arguments):
		return "return " + prosody.tool(f"floor_chats_{name}", self.group, *arguments)
