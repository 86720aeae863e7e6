"""Rows: many members added or removed by one call, in a group with a default chat. The floor has no events, and looks
for no account. Contact lists are virtual: saving 1,000 stored ones is no matter of the call."""

import time

from . import chats, pinger, prosody, settings, stores
from .report import Row
from .settings import GROUP

PINGING = "pinging"
LONGEST_STALL = 20

# What is done one after the other: in words, and the function.
CHANGES = (("added", "add_members"), ("removed", "remove_members"))


def rows(options, _ejabberd, note):
	size = 100 if options.quick else 1000
	note(f"{size} members at once")
	costs, stalls = measured(options, size)
	for work, _ in CHANGES:
		words = f"{size} {work} at once, a group with a chat"
		yield Row.of("bulk", words, "ms", costs[work], promise="≤ 1.2 × floor", size=size).at_most(1.2)
		row = Row.of("bulk-stall", f"longest stall meanwhile: {words}", "ms", stalls[work], size=size)
		row.promise = f"< {LONGEST_STALL} ms"
		yield row.under(LONGEST_STALL)


def measured(options, size):
	"""Returns samples of processor time and of stalls, each by what was done and by side. The sides take turns. Each round
	has its own users: where an invitation is stored already, the next one cannot be seen to be. The first round does not
	count."""
	rounds = [[f"bulk{number}x{i}" for i in range(size)] for number in range(2 * (options.runs + 1))]
	template = settings.fresh_folder("template")
	stores.Stores(template).accounts(sum(rounds, [PINGING]))
	samples = {work: {} for work, _ in CHANGES}, {work: {} for work, _ in CHANGES}
	with chats.servers(options, template, Ours, Floor) as sides:
		clients = {name: pinger.Pinger(server.c2s, PINGING) for name, _, server in sides}
		for number, users in enumerate(rounds):
			for name, side, server in sides:
				scene = side(server, f"{GROUP}{number}")
				by_work, values = (
					(samples[1], scene.stalls(users, clients[name])) if number % 2 else (samples[0], scene.costs(users))
				)
				for work, value in values if number > 1 else ():
					by_work[work].setdefault(name, []).append(value)
		for client in clients.values():
			client.close()
	return samples


class Ours(chats.Ours):
	def __init__(self, server, group):
		super().__init__(server, group, 1)

	def costs(self, users):
		self.start()
		idle = self.idle()
		return [(work, self.cost(self.call(name, users)) - idle) for work, name in CHANGES]

	def stalls(self, users, client):
		self.start()
		return [(work, self.stall(self.call(name, users), client)) for work, name in CHANGES]

	def stall(self, source, client):
		"""Returns the longest round trip of a client that pings back to back, until all is done."""
		self.server.settle()
		client.start()
		began = time.perf_counter()
		self.server.lua(source)
		# Not settle(): with a client that pings, the processor is never idle.
		while not self.server.quiet_for(0.5) or self.server.unsettled():
			time.sleep(0.02)
		return client.stop(began)

	def call(self, name, users):
		return self.change(name, (users,))


class Floor(chats.Floor, Ours):
	def call(self, name, users):
		return "return " + prosody.tool(f"floor_chats_{name}", self.group, users)
