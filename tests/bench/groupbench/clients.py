"""XMPP clients that search the raw stream and do not parse it: fifty of them are no bottleneck."""

import base64
import select
import time

from . import sockets
from .settings import HOST, PASSWORD

OPEN = (
	"<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='jabber:client' "
	"xmlns:stream='http://etherx.jabber.org/streams'>" % HOST
).encode()
BIND = (
	b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind></iq>"
)
ROSTER = b"<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>"
PING = b"<iq type='get' id='p' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>" % HOST.encode()


def presence(content=b""):
	return b"<presence>%s</presence>" % content


class Client:
	def __init__(self, port, user):
		self.user = user
		self.sock = sockets.connect(port)
		self.needs = []

	def authenticate(self):
		self.sock.sendall(OPEN)
		self.read_until(b"</stream:features>")
		token = base64.b64encode(f"\0{self.user}\0{PASSWORD}".encode())
		self.sock.sendall(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>" % token)
		answer = self.read_until(b"urn:ietf:params:xml:ns:xmpp-sasl")
		if b"<success" not in answer:
			raise ConnectionError(f"{self.user} cannot log in: {answer!r}")
		self.sock.sendall(OPEN)
		self.read_until(b"</stream:features>")

	def bind_and_get_roster(self):
		"""Returns the raw stanza with the roster."""
		self.sock.sendall(BIND)
		self.read_until(b"</iq>")
		self.sock.sendall(ROSTER)
		return self.read_until(b"</iq>")

	def available(self, content=b""):
		self.sock.sendall(presence(content))

	def ping(self):
		"""Returns the time at which a round trip began, and its seconds. Nothing else may come in meanwhile."""
		began = time.perf_counter()
		self.sock.sendall(PING)
		self.read_until(b"id='p'")
		return began, time.perf_counter() - began

	def read_until(self, marker):
		"""Searches each byte once: a large contact list comes in many pieces."""
		data, looked = bytearray(), 0
		while data.find(marker, looked) < 0:
			looked = max(0, len(data) - len(marker) + 1)
			data += sockets.receive(self.sock)
		return data

	def close(self):
		try:
			self.sock.sendall(b"</stream:stream>")
		except OSError:
			pass
		self.sock.close()


class Need:
	"""A marker that has to be seen a number of times."""

	def __init__(self, marker, count):
		self.marker = marker
		self.left = count
		self.tail = b""

	def feed(self, data):
		text = self.tail + data
		self.left -= text.count(self.marker)
		self.tail = text[1 - len(self.marker):]
		return self.left <= 0


class Swarm:
	"""Reads clients together, and knows when the last of them had what it waited for."""

	def __init__(self, port):
		self.port = port
		self.poll = select.epoll()
		self.clients = {}
		self.waiting = 0
		self.finished = 0.0

	def login(self, user, content=b""):
		client = Client(self.port, user)
		client.authenticate()
		client.bind_and_get_roster()
		client.available(content)
		return self.take(client)

	def take(self, client):
		"""Reads a client from now on."""
		client.sock.setblocking(False)
		self.clients[client.sock.fileno()] = client
		self.poll.register(client.sock, select.EPOLLIN)
		return client

	def logout(self, client):
		self.poll.unregister(client.sock)
		del self.clients[client.sock.fileno()]
		client.close()

	def expect(self, client, *needs):
		client.needs = [Need(marker, count) for marker, count in needs if count > 0]
		if client.needs:
			self.waiting += 1

	def pump(self, seconds):
		for number, _ in self.poll.poll(seconds):
			client = self.clients[number]
			data = sockets.receive(client.sock)
			if client.needs:
				client.needs = [need for need in client.needs if not need.feed(data)]
				if not client.needs:
					self.waiting -= 1
					self.finished = time.perf_counter()

	def wait(self, timeout):
		"""Returns the time at which the last expectation was met. Raises TimeoutError if one was not."""
		end = time.perf_counter() + timeout
		while self.waiting:
			if time.perf_counter() > end:
				for client in self.clients.values():
					client.needs = []
				missing, self.waiting = self.waiting, 0
				raise TimeoutError(f"{missing} clients did not get what they waited for within {timeout} s")
			self.pump(0.05)
		return self.finished

	def close(self):
		for client in list(self.clients.values()):
			self.logout(client)
		self.poll.close()
