"""Sockets that neither wait for more data before they send nor delay an acknowledgement."""

import socket


def connect(port):
	sock = socket.create_connection(("127.0.0.1", port), timeout=60)
	sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
	quick_ack(sock)
	return sock


def quick_ack(sock):
	"""Asks for quick acknowledgements. The kernel forgets it, so each read asks again."""
	sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def receive(sock):
	data = sock.recv(1 << 18)
	if not data:
		raise ConnectionError("the server closed the connection")
	quick_ack(sock)
	return data


def free_ports(count):
	held = []
	for _ in range(count):
		sock = socket.socket()
		sock.bind(("127.0.0.1", 0))
		held.append(sock)
	ports = [sock.getsockname()[1] for sock in held]
	for sock in held:
		sock.close()
	return ports
