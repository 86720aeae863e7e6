"""Rows: two users, one of them online, are added to many groups in one loop, and taken out of them again."""

from . import clients, prosody, settings, stores
from .report import Row

USERS = ["hub", "peer"]
LIMIT = 60.0


def rows(options, _ejabberd, note):
	few, many = (100, 400) if options.quick else (500, 2000)
	note(f"adding two users to {few} and {many} groups, and taking them out")
	ratios, left = {"many-groups": {}, "many-groups-left": {}}, {}
	for name, plugins in (("ours", options.module), ("peer", options.peer)):
		if not plugins:
			continue
		try:
			pairs = [(costs(options, name, plugins, few), costs(options, name, plugins, many)) for _ in range(options.runs)]
			for key, samples in ratios.items():
				samples[name] = [of_many[key] / of_few[key] for of_few, of_many in pairs]
		except Exception as problem:
			if name == "ours":
				raise
			left[name] = str(problem) or f"more than {LIMIT:.0f} s"
	for key, work, one in (
		("many-groups", f"two users added to {many} groups in one loop", "an add"),
		("many-groups-left", f"two users taken out of {many} groups in one loop", "a removal"),
	):
		row = Row.of(key, f"{work}: {one}, against one of {few} groups", "×", ratios[key], promise="≤ 1.5")
		yield row.under(1.5).left(left)


def costs(options, name, plugins, groups):
	"""Returns milliseconds for one add and for one removal, on a fresh server."""
	template = settings.fresh_folder("template")
	stores.Stores(template).accounts(USERS)
	server = prosody.Prosody(options, name, plugins, {"groups_remove_contacts": True})
	server.fill(template)
	try:
		server.start()
		swarm = clients.Swarm(server.c2s)
		swarm.login(USERS[0])
		server.settle(swarm.pump)
		joining = server.tool("join_many", groups, USERS, timeout=LIMIT)
		server.settle(swarm.pump)
		leaving = server.tool("leave_many", groups, USERS, timeout=LIMIT)
		swarm.close()
		count = groups * len(USERS)
		return {"many-groups": joining / count, "many-groups-left": leaving / count}
	finally:
		server.kill()
