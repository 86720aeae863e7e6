"""Starts, watches and ends server processes, by their own ids."""

import atexit
import os
import pathlib
import signal
import subprocess
import time

_running = []


def start(arguments, log, env=None, cwd=None):
	with open(log, "ab") as output:
		process = subprocess.Popen(
			arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=cwd, start_new_session=True
		)
	_running.append(process)
	return process


def stop(process, sig=signal.SIGTERM, timeout=20):
	"""Ends the process and all that it started: the process group is its own."""
	if process.poll() is None:
		_signal(process, sig)
		try:
			process.wait(timeout)
		except subprocess.TimeoutExpired:
			_signal(process, signal.SIGKILL)
			process.wait(10)
	_signal(process, signal.SIGKILL)
	if process in _running:
		_running.remove(process)


def _signal(process, sig):
	try:
		os.killpg(process.pid, sig)
	except ProcessLookupError:
		pass


@atexit.register
def stop_all():
	for process in list(_running):
		stop(process, signal.SIGKILL)


def cpu_seconds(pid):
	"""Returns the processor time of all threads of a process so far. The kernel counts nanoseconds."""
	total = 0
	for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
		try:
			total += int((task / "schedstat").read_text().split()[0])
		except (FileNotFoundError, ProcessLookupError):
			pass
	return total / 1e9


def busy_share(seconds):
	"""Returns how busy all processors are, on average, from 0 to 1."""
	def times():
		values = [int(value) for value in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
		return sum(values), values[3] + values[4]

	(total, idle), _, (total_after, idle_after) = times(), time.sleep(seconds), times()
	return 1 - (idle_after - idle) / max(1, total_after - total)


def resident_bytes(pid):
	for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
		if line.startswith("VmRSS:"):
			return int(line.split()[1]) * 1024
	raise RuntimeError("no VmRSS")


def wait_idle(pid, pump, quiet=0.2, share=0.02, timeout=120):
	"""Waits until a process has used less than `share` of a processor for `quiet` seconds. Calls `pump` meanwhile."""
	end = time.monotonic() + timeout
	since, used = time.monotonic(), cpu_seconds(pid)
	while time.monotonic() < end:
		pump(0.02)
		now, spent = time.monotonic(), cpu_seconds(pid)
		if spent - used > share * quiet:
			since, used = now, spent
		elif now - since >= quiet:
			return True
	return False


def wait_until(condition, what, timeout=60, step=0.02):
	end = time.monotonic() + timeout
	while time.monotonic() < end:
		found = condition()
		if found:
			return found
		time.sleep(step)
	raise TimeoutError(f"waited {timeout} s for {what}")


def group_members(leader):
	"""Returns the ids of all processes in the process group of one that was started here."""
	members = []
	for entry in pathlib.Path("/proc").iterdir():
		if entry.name.isdigit():
			try:
				if os.getpgid(int(entry.name)) == leader:
					members.append(int(entry.name))
			except ProcessLookupError:
				pass
	return members
