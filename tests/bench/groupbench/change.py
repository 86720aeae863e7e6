"""Rows: a group renamed, a member removed whose contacts go too, and the stall meanwhile."""

from . import add
from .report import Row
from .settings import HOST

SIZE, QUICK_SIZE = 500, 50


class Scene(add.Scene):
	"""`took` and `stall` of a change are of one and the same change: the client that pings is at work all the while."""

	def change(self, key, measure):
		"""Rounds as of an add, each of which gives both."""
		self.repeat(key, measure)
		for name, pairs in self.samples.pop(key, {}).items():
			for what, values in (("took", [took for took, _ in pairs]), ("stall", [stall for _, stall in pairs])):
				self.samples.setdefault(f"{key}-{what}", {})[name] = values

	def rename(self, side, user):
		label = f"Renamed for {user}"
		for client in side.swarm.clients.values():
			side.swarm.expect(client, (f"<group>{label}</group>".encode(), self.size - 1))
		return self.watched(side, lambda: side.send_rename(label))

	def remove(self, side, user):
		for client in side.swarm.clients.values():
			side.swarm.expect(client, (f"jid='{user}@{HOST}'".encode(), 1))
		return self.watched(side, lambda: side.send_remove(user))

	def repeat(self, key, measure, only=None):
		"""Members that go are those who came last: they are not online, and every side loses the same."""
		if key == "removal":
			self.spare = iter(self.members[::-1])
		super().repeat(key, measure, only)


def rows(options, ejabberd, note):
	size = QUICK_SIZE if options.quick else SIZE
	limit = []
	yield from renamed(options, size, limit, note)
	if options.wants("removal"):
		yield from removed(options, size, ejabberd, limit, note)


def renamed(options, size, limit, note):
	"""Measures what the limit is, too: the stall of an add without the module, and one save."""
	scene = Scene(options, size, None).keep("ours", "floor")
	try:
		note(f"group of {size}: stall of an add, for comparison")
		scene.start()
		scene.repeat("stall", scene.stall_of_add)
		save, _ = scene.save_seen()
		limit += [Row.of("", "", "", scene.samples["stall"]).values["floor"], save]
		if options.wants("rename") and options.module:
			note(f"group of {size}: renaming it")
			scene.sides, others = [side for side in scene.sides if side.name == "ours"], scene.sides
			scene.change("rename", scene.rename)
			scene.sides = others
			work = f"group of {size} renamed, {scene.online} online"
			notes = ["timed with the pinging client at work"]
			yield scene.row("rename", "rename-took", f"{work}: until each has {size - 1:,} pushes", "", notes)
			yield against(limit, scene, "rename", f"longest stall as a {work}", size)
	finally:
		scene.end()


def removed(options, size, ejabberd, limit, note):
	scene = Scene(options, size, ejabberd, {"groups_remove_contacts": True}).keep("ours", "ejabberd")
	try:
		note(f"group of {size}: removing members, with their contacts: starting")
		scene.start()
		note(f"group of {size}: removing members")
		scene.change("removal", scene.remove)
	finally:
		scene.end()
	work = f"one removed from {size}, contacts too, {scene.online} online"
	notes = ["timed with the pinging client at work"]
	yield scene.row("removal", "removal-took", f"{work}: until the last has the push", "", notes)
	yield against(limit, scene, "removal", f"longest stall as {work}", size)


def against(limit, scene, key, work, size):
	"""The stall of an add is the measure of any other."""
	floor, save = limit
	promise = f"as for an add: ≤ floor's add + one save of {size} ({save:.1f} ms)"
	row = scene.row(key, f"{key}-stall", work, promise)
	row.values["floor"] = floor
	return row.at_most(1, plus=save)
