"""Rows: a group renamed, a member removed whose contacts go too, and the stall meanwhile."""

import statistics

from . import add
from .settings import HOST

SIZE, QUICK_SIZE = 500, 50


class Scene(add.Scene):
	"""`took` and `stall` are of the same change: the pinging client is at work all the while."""

	def change(self, key, measure):
		"""Measures rounds as for an add. Each gives both values."""
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
		"""Removes the members who came last: they are not online, and every side loses the same."""
		if key == "removal":
			self.spare = iter(self.members[::-1])
		super().repeat(key, measure, only)


def rows(options, ejabberd, note):
	size = QUICK_SIZE if options.quick else SIZE
	scenes = {}
	if options.wants("removal"):
		scenes["removal"] = measured(Scene(options, size, ejabberd, REMOVING).keep("ours", "ejabberd"), removal, note)
	scenes["rename"] = measured(Scene(options, size, None).keep("ours", "floor"), rename, note, scenes.get("removal"))
	online = scenes["rename"].online
	renamed = f"group of {size} renamed, {online} online"
	removed = f"one removed from {size}, contacts too, {online} online"
	if options.wants("rename"):
		promised = f"{renamed}: until each has {size - 1:,} pushes (floor: in slices of 20)"
		yield scenes["rename"].row("rename", "rename-took", promised, "", AT_WORK)
		yield stall_row(scenes["rename"], scenes["rename"], "rename", f"longest stall: {renamed}")
	if options.wants("removal"):
		yield scenes["removal"].row("removal", "removal-took", f"{removed}: until the last has the push", "", AT_WORK)
		yield stall_row(scenes["removal"], scenes["rename"], "removal", f"longest stall: {removed}")


def measured(scene, measure, note, *others):
	try:
		scene.start()
		measure(scene, note, *others)
	finally:
		scene.end()
	return scene


def removal(scene, note):
	note(f"group of {scene.size}: removing members, with their contacts")
	scene.change("removal", scene.remove)


def rename(scene, note, removal):
	"""Measures the limit for both changes, too: the stall of an add without the module, and one save."""
	if scene.options.wants("rename"):
		note(f"group of {scene.size}: renaming it")
		scene.change("rename", scene.rename)
	else:
		scene.window = removal.window
	note(f"group of {scene.size}: stall of an add, for comparison")
	scene.repeat("stall", scene.stall_of_add, ("floor",))
	scene.samples["save"] = scene.save_seen()


REMOVING = {"groups_remove_contacts": True}
AT_WORK = ["timed with the pinging client at work"]


def stall_row(scene, limit, key, work):
	"""Compares a stall with that of an add."""
	save = limit.samples["save"][0]
	promise = f"as for an add: ≤ floor's add + one save of {scene.size} ({save:.1f} ms)"
	row = scene.row(key, f"{key}-stall", work, promise)
	row.values["floor"] = statistics.median(limit.samples["stall"]["floor"])
	return row.at_most(1, plus=save)
