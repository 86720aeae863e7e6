"""Row: two users, one of them online, are added to many groups in one loop."""

from . import clients, prosody, settings, stores
from .report import Row

USERS = ["hub", "peer"]
LIMIT = 60.0


def rows(options, _ejabberd, note):
	few, many = (100, 400) if options.quick else (500, 2000)
	note(f"adding two users to {few} and {many} groups")
	ratios, left = {}, {}
	for name, plugins in (("ours", options.module), ("peer", options.peer)):
		if not plugins:
			continue
		try:
			pairs = [(cost(options, name, plugins, few), cost(options, name, plugins, many)) for _ in range(options.runs)]
			ratios[name] = [of_many / of_few for of_few, of_many in pairs]
		except Exception as problem:
			if name == "ours":
				raise
			left[name] = str(problem) or f"more than {LIMIT:.0f} s"
	work = f"two users added to {many} groups in one loop: an add, against one of {few} groups"
	yield Row.of("many-groups", work, "×", ratios, promise="≤ 1.5").under(1.5).left(left)


def cost(options, name, plugins, groups):
	"""Returns milliseconds for one add, on a fresh server."""
	template = settings.fresh_folder("template")
	stores.Stores(template).accounts(USERS)
	server = prosody.Prosody(options, name, plugins)
	server.fill(template)
	try:
		server.start()
		swarm = clients.Swarm(server.c2s)
		swarm.login(USERS[0])
		server.settle(swarm.pump)
		took = server.tool("join_many", groups, USERS, timeout=LIMIT)
		swarm.close()
		return took / (groups * len(USERS))
	finally:
		server.kill()
