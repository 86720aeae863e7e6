"""Rows: frequent calls with nothing to do, among 1,000 groups of 20 and in a group of 1,000."""

from . import clients, prosody, stores
from .report import Row

BIG = "big"
HUB = "hub"
ROUNDS = 200
LIMIT = 60.0


def layout(quick):
	"""Returns the groups by id: 1,000 of 20, with everyone in about five and one user in all, and one of 1,000."""
	groups, users, size = (100, 400, 100) if quick else (1000, 4000, 1000)
	found = {}
	for number in range(groups):
		found[f"g{number}"] = [HUB] + [f"p{(number * 19 + i) % users}" for i in range(19)]
	found[BIG] = [f"b{i}" for i in range(size)]
	return found


def fill(data, groups):
	store = stores.Stores(data)
	users = sorted({user for members in groups.values() for user in members})
	store.accounts(users)
	for group, members in groups.items():
		store.group(members, group, f"Group {group}")
	store.rosters([(f"Group {group}", members) for group, members in groups.items()])


class Scene:
	def __init__(self, options, name, plugins, groups):
		self.options, self.groups = options, groups
		self.server = prosody.Prosody(options, name, plugins)
		fill(self.server.data, groups)

	def start(self):
		self.server.start().settle()
		self.swarm = clients.Swarm(self.server.c2s)
		for user in (HUB, "p7"):
			self.swarm.login(user)
		self.server.settle(self.swarm.pump)

	def times(self, tool, *arguments):
		"""Returns medians in microseconds, one for each run, and the number of calls into storage."""
		self.server.tool("take_calls")
		values = [self.server.tool(tool, *arguments, timeout=LIMIT) for _ in range(self.options.runs)]
		return values, sum(self.server.calls().values())

	def bind(self, user):
		full, calls = self.times("time_event", "resource-bind", user, ROUNDS)
		empty, _ = self.times("time_event", "bench-nothing", user, ROUNDS)
		return [max(0.0, with_hook - without) for with_hook, without in zip(full, empty)], calls

	def run(self):
		return {
			"sync": self.times("time_calls", "sync", ROUNDS, 10, BIG),
			"few": self.bind("p7"),
			"all": self.bind(HUB),
		}

	def end(self):
		self.swarm.close()
		self.server.stop()


def rows(options, _ejabberd, note):
	groups = layout(options.quick)
	taken = {}
	for name, plugins in (("ours", options.module), ("peer", options.peer)):
		if plugins:
			note(f"settled groups: starting {name}")
			taken[name] = measure(options, name, plugins, groups, note)
	size, few = len(groups[BIG]), sum("p7" in members for members in groups.values())
	promise = "< 200 µs, no storage call"
	yield row("settled", f"sync with nothing to do, {size} members", "< 100 µs, no storage call", taken, "sync", 100)
	count = len(groups) - 1
	yield row("bind", f"resource-bind hook alone, user in {few} of {count} groups of 20", promise, taken, "few", 200)
	yield row("bind", f"resource-bind hook alone, user in all {count} groups of 20", promise, taken, "all", 200)


def measure(options, name, plugins, groups, note):
	scene = Scene(options, name, plugins, groups)
	try:
		scene.start()
		return scene.run()
	except Exception as problem:
		if name == "ours":
			raise
		note(f"{name} gives up: {problem}")
		return None
	finally:
		scene.server.kill()


def row(key, work, promise, taken, what, limit):
	taken = {name: results[what] for name, results in taken.items() if results}
	made = Row.of(key, work, "µs", {name: values for name, (values, _) in taken.items()}, promise=promise)
	made.under(limit)
	if "ours" in taken:
		made.require(taken["ours"][1] == 0)
		made.notes.append(f"{taken['ours'][1]} storage calls")
	return made
