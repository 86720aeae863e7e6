"""A Prosody of the bench's own, with our module, with another one, or with none."""

import shutil
import signal
import sys
import time

from . import control, databases, processes, settings, sockets
from .settings import BENCH, HOST, MODULE, TOP

CONFIG = """
run_as_root = true
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
log = {{ {{ levels = {{ min = "warn" }}, to = "file", filename = "{folder}/prosody.log" }} }}
plugin_paths = {{ {plugins} }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s} }}
c2s_direct_tls_ports = {{}}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
{storage}
modules_enabled = {{ "roster", "saslauth", "ping" }}
modules_disabled = {{ "s2s", "s2s_auth_certs", "tls" }}
VirtualHost "{host}"
	modules_enabled = {{ {modules} }}
	spec_control_port = {control}
{host_options}
{components}"""


class Prosody:
	"""`plugins` is the folder with the module to measure, or None. `host_options` are the host's in the configuration,
	where `modules` are loaded as well, and `components` follow.
	With `load` set to False, the next start leaves the module out."""

	def __init__(self, options, name, plugins=None, host_options=None, modules=(), components=""):
		self.name = name
		self.start_script = options.prosody
		self.folder = settings.fresh_folder(name)
		self.data = self.folder / "data"
		self.data.mkdir()
		self.plugins = plugins
		self.host_options = dict(host_options or {})
		self.modules, self.components = list(modules), components
		self.load = plugins is not None
		self.process = None
		self.options = options

	def fill(self, template):
		databases.prepare(self.options, template)
		shutil.rmtree(self.data)
		shutil.copytree(template, self.data)
		databases.take_over(self.options, self.data)

	def start(self):
		databases.prepare(self.options, self.data)
		self.c2s, port = sockets.free_ports(2)
		folders = [TOP / "spec" / "support" / "plugins", BENCH / "plugins"] + ([self.plugins] if self.plugins else [])
		modules = ["spec_control", "bench_tools"] + self.modules + ([MODULE] if self.load else [])
		config = self.folder / "prosody.cfg.lua"
		config.write_text(CONFIG.format(
			folder=self.folder, storage=databases.config(self.options, self.data), host=HOST, c2s=self.c2s, control=port,
			plugins=", ".join(f'"{folder}"' for folder in folders), modules=", ".join(f'"{name}"' for name in modules),
			host_options="".join(f"\t{name} = {control.quote(value)}\n" for name, value in self.host_options.items()),
			components=self.components,
		))
		log = self.folder / "output.log"
		self.process = processes.start([self.start_script, "--config", str(config), "-F"], log)
		self.control = processes.wait_until(lambda: self._connect(port), f"{self.name} to start, see {log}")
		self.pid = int(self.lua('return require "util.pposix".getpid()'))
		if self.load and not self.lua("return groups ~= nil"):
			raise RuntimeError(f"the module did not load in {self.name}: {self.log_text()[-500:]}")
		return self

	def log_text(self):
		log = self.folder / "prosody.log"
		return log.read_text(errors="replace") if log.exists() else ""

	def _tell_errors(self):
		errors = [line for line in self.log_text().splitlines() if "\terror\t" in line and "certmanager" not in line]
		if errors:
			print(f"{self.name} logged {len(errors)} errors, the first: {errors[0]}", file=sys.stderr, flush=True)

	def _connect(self, port):
		if self.process.poll() is not None:
			raise RuntimeError(f"{self.name} did not start, see {self.folder}/output.log")
		try:
			return control.Control(port)
		except ConnectionRefusedError:
			return None

	def lua(self, source, timeout=120):
		"""Runs a chunk of Lua inside the server and returns its first result."""
		results = self.control.run(source, timeout)
		return results[0] if results else None

	def tool(self, name, *arguments, timeout=120):
		return self.lua("return " + tool(name, *arguments), timeout)

	def groups(self, name, *arguments, timeout=120):
		return self.lua("return " + control.call("groups." + name, *arguments), timeout)

	def cpu(self):
		return processes.cpu_seconds(self.pid)

	def settle(self, pump=time.sleep, timeout=240, marked=True):
		"""Waits for the end of all background work: nothing is written any more, and the processor is idle. Unless
		`marked` is False, no work is recorded as open either."""
		end = time.monotonic() + timeout
		while time.monotonic() < end:
			processes.wait_idle(self.pid, pump, timeout=max(0.0, end - time.monotonic()))
			if self.quiet_for(0.4) and not (marked and self.unsettled()):
				return
			pump(0.02)
		raise TimeoutError(f"{self.name} was still at work after {timeout} s")

	def quiet_for(self, seconds):
		return self.tool("quiet") >= seconds

	def unsettled(self):
		"""Does our module's record name work that is still open?"""
		return self.tool("open_work")

	def calls(self):
		"""Returns the calls into storage since the last time, by "store read" and "store write"."""
		return {what: int(times) for what, times in (self.tool("take_calls") or {}).items()}

	def stop(self, sig=signal.SIGTERM):
		if self.process:
			self._tell_errors()
			self.control.close()
			processes.stop(self.process, sig)
			self.process = None

	def kill(self):
		self.stop(signal.SIGKILL)


def tool(name, *arguments):
	return control.call("prosody.hosts[host].modules.bench_tools." + name, *arguments)
