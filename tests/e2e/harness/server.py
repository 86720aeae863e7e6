"""A Prosody of the test's own: started, asked, killed and started again in one folder."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from . import settings
from .lua import literal
from .waiting import wait_until

CONFIG = """
run_as_root = true
pidfile = {pidfile}
data_path = {data}
plugin_paths = {plugin_paths}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s_port} }}
c2s_direct_tls_ports = {{ }}
legacy_ssl_ports = {{ }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
storage = {storage}
sql = {{ driver = "SQLite3", database = "prosody.sqlite" }}
modules_enabled = {{ "roster", "saslauth", "disco", "ping" }}
modules_disabled = {{ "s2s", "tls" }}
log = {{ {level} = {log} }}

VirtualHost "localhost"
	modules_enabled = {host_modules}
	spec_control_port = {control_port}
	groups_muc_host = "groups.localhost"
{options}

Component "groups.localhost" "muc"
"""

INSIDE = (settings.ROOT / "tests" / "e2e" / "harness" / "inside.lua").read_text()


class ControlError(AssertionError):
    """What Lua said when the code a test had sent threw."""


def free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Server:
    """One data folder, and the Prosody that runs on it, however often it is started."""

    def __init__(
        self, folder, storage="internal", plugins=settings.PLUGINS, modules=("groups_internal",), options=None
    ):
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        (folder / "certs").mkdir()
        self.storage = storage
        self.plugins = plugins
        self.modules = list(modules)
        #: Options of the host, by name.
        self.options = dict(options or {})
        self.c2s_port, self.control_port = free_ports(2)
        self.process = None

    @property
    def log_file(self):
        return self.folder / "prosody.log"

    def configure(self):
        """Writes the configuration file as the server is to be now."""
        config = CONFIG.format(
            pidfile=literal(str(self.folder / "prosody.pid")),
            data=literal(str(self.data)),
            plugin_paths=literal([str(self.plugins), str(settings.CONTROL_PLUGINS)]),
            c2s_port=self.c2s_port,
            control_port=self.control_port,
            storage=literal(self.storage),
            level=settings.LOG_LEVEL,
            log=literal(str(self.log_file)),
            host_modules=literal(["spec_control", *self.modules]),
            options="\n".join(f"\t{name} = {literal(value)}" for name, value in self.options.items()),
        )
        path = self.folder / "prosody.cfg.lua"
        path.write_text(config)
        return path

    async def start(self):
        """Starts Prosody and returns when it answers."""
        command = [settings.prosody, "--config", str(self.configure()), "-F"]
        with open(self.folder / "output.txt", "ab") as output:
            # A session of its own: the start script may be a wrapper, and a kill has to reach what it started.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        await wait_until(self._answers, lambda: f"Prosody answers\n{self.tail()}")

    async def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"Prosody ended at once with {self.process.returncode}\n{self.tail()}")
        try:
            return await self.run("return true")
        except (OSError, asyncio.IncompleteReadError):
            return False

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9: what is not in storage now is gone."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    async def stop(self):
        """Stops Prosody as an operator does, if it is running."""
        if not self.is_running():
            return
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + 30
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"Prosody did not stop when asked to\n{self.tail()}")
            await asyncio.sleep(0.05)
            self._wake()

    def _wake(self):
        """Interrupts a wait for events: 0.12 may wait for ever if the signal to stop came just before."""
        self._signal(signal.SIGSTOP)
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    async def restart(self):
        await self.stop()
        await self.start()

    async def run(self, source, **values):
        """Runs Lua in Prosody, in the scope of mod_spec_control, `inside` and `values`; returns its first result."""
        results = await self.run_all(source, **values)
        return results[0] if results else None

    async def run_all(self, source, **values):
        """Does the same, and returns all results as a list."""
        assignments = "".join(f"local {name} = {literal(value)};\n" for name, value in values.items())
        answer = await self._ask(f"{INSIDE}\n{assignments}\n{source}")
        if not answer["ok"]:
            raise ControlError(answer["error"])
        return list(answer["result"]) if answer["n"] else []

    async def _ask(self, text):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.control_port)
        try:
            request = text.encode()
            writer.write(f"{len(request)}\n".encode() + request)
            length = await asyncio.wait_for(reader.readuntil(b"\n"), 60)
            return json.loads(await asyncio.wait_for(reader.readexactly(int(length)), 60))
        finally:
            writer.close()

    async def groups(self, function, *arguments):
        """Calls a function of mod_groups_internal; an answer of nil and an error is a failure of the test."""
        results = await self.run_all(f"return groups.{function}({', '.join(map(literal, arguments))})")
        if len(results) > 1 and not results[0]:
            raise ControlError(f"groups.{function}{arguments}: {results[1]}")
        return results[0] if results else None

    async def is_loaded(self, module):
        return await self.run('return require "core.modulemanager".is_loaded(module.host, name)', name=module)

    def log(self):
        """Returns the lines of Prosody's log, (source, level, message), each with its continuation lines."""
        lines = []
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        for line in text.splitlines():
            match = re.match(r"\w{3} +\d+ \d\d:\d\d:\d\d ([^\t]*)\t+(\w+)\t+(.*)", line)
            if match:
                lines.append(match.groups())
            elif lines:
                source, level, message = lines[-1]
                lines[-1] = (source, level, f"{message}\n{line}")
        return lines

    def complaints(self):
        """Returns the errors and tracebacks in the log."""
        return [line for line in self.log() if line[1] == "error" or "traceback" in line[2]]

    def tail(self, count=30):
        output = self.folder / "output.txt"
        texts = [path.read_text(errors="replace") for path in (output, self.log_file) if path.exists()]
        return "\n".join("\n".join(texts).splitlines()[-count:])
