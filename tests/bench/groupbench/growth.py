"""Rows: a group grows to 500 one by one, all offline."""

import time

from . import control, prosody, settings, stores
from .report import Row
from .settings import GROUP, LABEL

LIMIT = 30.0


def users_of(size):
	return [f"grow{size}x{i}" for i in range(size)]


def rows(options, ejabberd, note):
	size = 100 if options.quick else 500
	scene = Scene(options, ejabberd, users_of(size))
	note(f"growing a group to {size}")
	loop, requests = scene.run()
	work = f"a group grown to {size} one by one, all offline"
	promise = f"≤ 1.3 × floor of {size} group records"
	row = Row.of("growth", work + ", in one loop", "ms", loop, promise=promise, size=size)
	yield row.at_most(1.3).left(scene.left)
	row = Row.of("growth-requests", work + ", a request each", "ms", requests, promise="ahead of ejabberd", size=size)
	yield row.ahead_of_ejabberd()


class Scene:
	"""Each measurement starts a fresh server: background work that the last one left must not count."""

	def __init__(self, options, ejabberd, users):
		self.options, self.ejabberd, self.users = options, ejabberd, users
		self.left = {}
		self.template = settings.fresh_folder("template")
		store = stores.Stores(self.template)
		store.accounts(users)
		if ejabberd:
			ejabberd.register(users)

	def run(self):
		loop, requests = {}, {}
		for run in range(self.options.runs + 1):
			for name, plugins in self.modules():
				self._take(run, loop, name, lambda plugins=plugins, name=name: self.in_loop(name, plugins))
				self._take(run, requests, name, lambda plugins=plugins, name=name: self.by_request(name, plugins))
			self._take(run, loop, "floor", self.floor)
			if self.ejabberd:
				self._take(run, requests, "ejabberd", self.by_http)
		return loop, requests

	def modules(self):
		found = [("ours", self.options.module), ("peer", self.options.peer)]
		return [(name, plugins) for name, plugins in found if plugins and name not in self.left]

	def _take(self, run, samples, name, measure):
		if name in self.left:
			return
		try:
			value = measure()
		except Exception as problem:
			if name in ("ours", "floor"):
				raise
			self.left[name] = str(problem) or f"more than {LIMIT:.0f} s"
			return
		if run > 0:
			samples.setdefault(name, []).append(value)

	def _with_server(self, name, plugins, measure):
		server = prosody.Prosody(self.options, name, plugins)
		server.fill(self.template)
		try:
			server.start()
			if plugins:
				server.lua(f"return groups.create({{ name = '{LABEL}' }}, false, '{GROUP}')")
			server.settle()
			return measure(server)
		finally:
			server.kill()

	def in_loop(self, name, plugins):
		return self._with_server(name, plugins, lambda server: server.tool("grow", GROUP, self.users, timeout=LIMIT))

	def by_request(self, name, plugins):
		return self._with_server(name, plugins, self._requests)

	def _requests(self, server):
		start = time.perf_counter()
		for user in self.users:
			server.control.run("return " + control.call("groups.add_member", GROUP, user))
			if time.perf_counter() - start > LIMIT:
				raise TimeoutError
		return (time.perf_counter() - start) * 1000

	def floor(self):
		return self._with_server("floor", None, lambda server: server.tool("floor_grow", GROUP, self.users))

	def by_http(self):
		self.ejabberd.create_group([], GROUP)
		self.ejabberd.settle()
		start = time.perf_counter()
		for user in self.users:
			self.ejabberd.add(user, GROUP)
		took = (time.perf_counter() - start) * 1000
		self.ejabberd.delete_group(GROUP)
		return took
