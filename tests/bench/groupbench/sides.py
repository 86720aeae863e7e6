"""The sides of a comparison: our module, another one, the floor, ejabberd. They do the same work by the same names."""

from . import clients, control, pinger, prosody
from .settings import GROUP, LABEL

NEWCOMER = "newcomer"
PINGING = "pinging"


class Side:
	"""A running server with a group, clients that are online in it, and a client that pings."""

	name = ""
	presences = True
	swarm = None
	pinger = None

	def begin(self, online):
		self.swarm = clients.Swarm(self.server.c2s)
		for user in online:
			self.swarm.login(user)
		self.settle()

	def ping_from(self, user):
		self.pinger = pinger.Pinger(self.server.c2s, user)

	def settle(self):
		self.server.settle(self.swarm.pump)

	def end(self):
		self.disconnect()
		self.server.stop()

	def disconnect(self):
		if self.pinger:
			self.pinger.close()
		if self.swarm:
			self.swarm.close()

	def send_add(self, user):
		raise NotImplementedError

	def finish(self):
		raise NotImplementedError


class ProsodySide(Side):
	def finish(self):
		return self.server.control.receive()


class ModuleSide(ProsodySide):
	"""Ours, or another module with the same functions."""

	def __init__(self, options, name, plugins, host_options=None):
		self.name = name
		self.server = prosody.Prosody(options, name, plugins, host_options=host_options)

	def send_add(self, user, newcomer_online=False):
		self.server.control.send("return " + control.call("groups.add_member", GROUP, user))

	def send_remove(self, user):
		self.server.control.send("return " + control.call("groups.remove_member", GROUP, user))

	def remove(self, user):
		self.server.groups("remove_member", GROUP, user)

	def send_rename(self, name):
		self.server.control.send(f"return groups.set_info({control.quote(GROUP)}, {{ name = {control.quote(name)} }})")

	def send_delete(self, user):
		self.server.control.send("return " + prosody.tool("delete_user", user))


class FloorSide(ProsodySide):
	name = "floor"

	def __init__(self, options):
		self.server = prosody.Prosody(options, self.name)

	def send_add(self, user, newcomer_online=False):
		work = "floor_add_online" if newcomer_online else "floor_add"
		self.server.control.send("return " + prosody.tool(work, GROUP, LABEL, user))

	def remove(self, user):
		self.server.tool("floor_remove", GROUP, user)

	def send_rename(self, name):
		self.server.control.send("return " + prosody.tool("floor_rename", GROUP, name))


class EjabberdSide(Side):
	name = "ejabberd"
	presences = False  # ejabberd never sends them

	def __init__(self, server):
		self.server = server

	def send_add(self, user, newcomer_online=False):
		self.server.send_add(user)

	def finish(self):
		return self.server.api.receive()

	def send_remove(self, user):
		self.server.send_remove(user)

	def remove(self, user):
		self.server.remove(user)

	def end(self):
		self.disconnect()
		self.server.delete_group()
