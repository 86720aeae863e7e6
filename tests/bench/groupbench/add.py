"""Rows: one member added, offline or online; the stall meanwhile; an account deleted."""

import statistics
import time

from . import settings, sides, stores
from .report import Row
from .settings import HOST

SIZES = {50: 20, 200: 50, 500: 50}
SAVES = 20  # measured to learn what one save costs
LIMIT = 30.0  # seconds until a side is given up


class Scene:
	"""One size of group, all sides running, each with the same members online."""

	def __init__(self, options, size, ejabberd, host_options=None):
		self.options, self.size, self.online = options, size, SIZES[size]
		self.host_options = host_options
		self.members = [f"m{size}x{i}" for i in range(size)]
		self.spare = iter([f"{sides.NEWCOMER}{size}x{i}" for i in range(200)])
		self.newcomers = []
		self.warm = False
		self.window = 0.5
		self.samples = {}
		self.sides = self._sides(ejabberd)

	def keep(self, *names):
		self.sides = [side for side in self.sides if side.name in names]
		return self

	def _sides(self, ejabberd):
		options, found = self.options, []
		if options.module:
			found.append(sides.ModuleSide(options, "ours", options.module, self.host_options))
		found.append(sides.FloorSide(options))
		if options.peer:
			found.append(sides.ModuleSide(options, "peer", options.peer))
		if ejabberd:
			found.append(sides.EjabberdSide(ejabberd))
		return found

	def start(self):
		self.newcomers = list(self.spare)
		self.spare = iter(self.newcomers)
		template = settings.fresh_folder("template")
		store = stores.Stores(template)
		store.accounts(self.members + self.newcomers + [sides.PINGING])
		store.group(self.members)
		store.rosters([(settings.LABEL, self.members)])
		for side in list(self.sides):
			self._guard(side, lambda side=side: self._start_side(side, template))

	def _start_side(self, side, template):
		if isinstance(side, sides.EjabberdSide):
			side.server.register(self.members + self.newcomers + [sides.PINGING])
			side.server.create_group(self.members)
		else:
			side.server.fill(template)
			side.server.start()
			side.server.settle()
		side.begin(self.members[:self.online])
		side.ping_from(sides.PINGING)

	def _guard(self, side, work):
		"""Drops a side that fails or takes too long. Ours and the floor may not fail."""
		try:
			return work()
		except Exception as problem:
			if side.name in ("ours", "floor"):
				raise
			self.sides.remove(side)
			self.samples.setdefault("left", {})[side.name] = str(problem)
			if isinstance(side, sides.ProsodySide):
				side.server.kill()
			return None

	def repeat(self, key, measure, only=None):
		"""Measures every side in `runs` rounds, each in another order. A round to warm up comes before the first."""
		for run in range(1 if self.warm else 0, self.options.runs + 1):
			user = next(self.spare)
			chosen = [side for side in self.sides if only is None or side.name in only]
			shift = run % max(1, len(chosen))
			for side in chosen[shift:] + chosen[:shift] if key != "stall" else chosen:
				value = self._guard(side, lambda side=side: measure(side, user))
				if value is not None and run > 0:
					self.samples.setdefault(key, {}).setdefault(side.name, []).append(value)
		self.warm = True

	# One measurement each. Milliseconds.

	def add_offline(self, side, user):
		for client in side.swarm.clients.values():
			side_expects_push(side, client, user)
		return self._timed_add(side, user, False)

	def add_online(self, side, user):
		newcomer = side.swarm.login(user)
		side.settle()
		for client in side.swarm.clients.values():
			if client is newcomer:
				side.swarm.expect(client, (b"<item ", self.size), (b"<presence", self.online * side.presences))
			else:
				side_expects_push(side, client, user, side.presences)
		took = self._timed_add(side, user, True, settle=False)
		side.swarm.logout(newcomer)
		side.settle()
		return took

	def _timed_add(self, side, user, newcomer_online, settle=True):
		start = time.perf_counter()
		side.send_add(user, newcomer_online)
		took = (side.swarm.wait(LIMIT) - start) * 1000
		side.finish()
		# Removed before the background work: the stall shows what that costs.
		side.remove(user)
		if settle:
			side.settle()
		return took

	def stall_of_add(self, side, user):
		for client in side.swarm.clients.values():
			side_expects_push(side, client, user)
		stall = self._stalled(side, lambda: side.send_add(user))
		side.remove(user)
		side.settle()
		return stall

	def stall_of_delete(self, side, _):
		return self._stalled(side, lambda: side.send_delete(self.members.pop()))

	def _stalled(self, side, send):
		"""Returns the longest round trip from the call until all is quiet; the floor is watched as long as ours."""
		return self.watched(side, send)[1]

	def watched(self, side, send):
		"""Returns the time until the last client had what it waited for, and the longest round trip."""
		side.pinger.start()
		start = time.perf_counter()
		send()
		took = (side.swarm.wait(LIMIT) - start) * 1000
		side.finish()
		if isinstance(side, sides.ModuleSide):
			end = time.perf_counter() + LIMIT
			while time.perf_counter() < end and not (side.server.quiet_for(0.5) and not side.server.unsettled()):
				side.swarm.pump(0.02)
			self.window = time.perf_counter() - start
		else:
			watched = self.window if side.name == "floor" else 2.0
			while time.perf_counter() - start < watched:
				side.swarm.pump(0.02)
		stall = side.pinger.stop(start)
		side.settle()
		return took, stall

	def row(self, key, sample, work, promise, notes=()):
		row = Row.of(key, work, "ms", self.samples.get(sample, {}), promise=promise, size=self.size, notes=list(notes))
		return row.left(self.samples.get("left"))

	def save_seen(self):
		"""Returns how long the pinging client waits as Prosody alone saves one such list: median and maximum."""
		floor = next(side for side in self.sides if side.name == "floor")
		seen = []
		for run in range(SAVES + 1):
			floor.pinger.start()
			start = time.perf_counter()
			floor.server.tool("save_cost", self.members[-1], 1)
			end = time.perf_counter() + 0.03
			while time.perf_counter() < end:
				floor.swarm.pump(0.005)
			if run > 0:
				seen.append(floor.pinger.stop(start))
			else:
				floor.pinger.stop(start)
		return statistics.median(seen), max(seen)

	def end(self):
		for side in self.sides:
			side.end()


def side_expects_push(side, client, user, presence=False):
	side.swarm.expect(client, (f"jid='{user}@{HOST}'".encode(), 1), (f"from='{user}@{HOST}/".encode(), int(presence)))


def rows(options, ejabberd, note):
	"""Measures all sizes. `note` reports the progress."""
	for size in SIZES:
		if options.quick and size > 200:
			continue
		scene = Scene(options, size, ejabberd)
		try:
			note(f"group of {size}: starting {', '.join(side.name for side in scene.sides)}")
			scene.start()
			yield from scene_rows(options, scene, note)
		finally:
			scene.end()
		if options.wants("delete") and (size == max(SIZES) or options.quick):
			yield delete_row(options, scene, note)


def scene_rows(options, scene, note):
	size, online = scene.size, scene.online
	if options.wants("add"):
		note(f"group of {size}: adding one who is offline")
		scene.repeat("offline", scene.add_offline)
		row = scene.row("add", "offline", f"one added to {size}, {online} online, the new one not", "≤ 1.5 × floor")
		row.at_most(1.5)
		if size >= 200:
			row.promise += "; ahead of ejabberd"
			row.ahead_of_ejabberd()
		yield row
	if options.wants("add-online", "add"):
		note(f"group of {size}: adding one who is online")
		scene.repeat("online", scene.add_online)
		work = f"one added to {size}, {online} online, the new one too"
		yield scene.row("add-online", "online", work, "≤ 1.5 × floor", notes=NO_PRESENCE).at_most(1.5)
	if options.wants("stall", "delete"):
		note(f"group of {size}: stall of an add")
		scene.repeat("stall", scene.stall_of_add)
		save, worst = scene.samples["save"] = scene.save_seen()
		promise = f"≤ floor + one save of {size} ({save:.1f} ms)"
		alone = f"one save of {size} by Prosody alone stalls the pinging client for {save:.1f} ms (median of {SAVES}; "
		notes = [alone + f"longest {worst:.1f} ms)"]
		row = scene.row("stall", "stall", f"longest stall as one is added to {size}", promise, notes)
		yield row.at_most(1, plus=save)


def delete_row(options, measured, note):
	"""Uses fresh servers. On the others, removed members are still contacts: Prosody unsubscribes from each."""
	size = measured.size
	scene = Scene(options, size, None).keep("ours", "peer")
	try:
		note(f"group of {size}: stall of a deleted account")
		scene.start()
		scene.repeat("delete", scene.stall_of_delete)
	finally:
		scene.end()
	row = scene.row("delete", "delete", f"longest stall as the account of a member of {size} is deleted", "")
	row.promise = "as for an add: ≤ floor's add + one save"
	row.values["floor"] = statistics.median(measured.samples["stall"]["floor"])
	return row.at_most(1, plus=measured.samples["save"][0])


NO_PRESENCE = ["ejabberd sends the pushes only, no presence"]
