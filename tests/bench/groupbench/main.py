"""The command line: measures the rows that are wanted and writes table, JSON and plots."""

import argparse
import os
import platform
import signal
import sys
import time
import traceback

from . import add, change, ejabberd, growth, login, plots, processes, report, scale, settings, settled, sync, virtual

SCENES = (
	(add.rows, ("add", "add-online", "stall", "delete")),
	(sync.rows, ("sync", "sync-wall", "sync-call")),
	(growth.rows, ("growth", "growth-requests")),
	(change.rows, ("rename", "removal")),
	(login.rows, ("login",)),
	(virtual.login_rows, ("virtual-login",)),
	(virtual.storage_rows, ("storage",)),
	(settled.rows, ("settled", "bind")),
	(scale.rows, ("lookups", "memory", "start")),
)


def options_from(arguments):
	keys = [key for _, names in SCENES for key in names]
	parser = argparse.ArgumentParser(
		prog="tests/bench/run",
		description="Measures mod_groups_internal against Prosody's own least cost and ejabberd, on live servers. "
		"The environment's PEER=DIR adds another plugin folder that has a mod_groups_internal.",
	)
	parser.add_argument("--only", action="append", default=[], choices=keys, metavar="ROW", help=", ".join(keys))
	parser.add_argument("--runs", type=int, help="measurements a side and row (5)")
	parser.add_argument("--prosody", default="13", help="0.12, 13 (default) or the path of a start script")
	parser.add_argument("--quick", action="store_true", help="small sizes, 2 runs: does it work at all?")
	parser.add_argument("--ejabberd", help="another ejabberdctl than target/ejabberd's")
	given = parser.parse_args(arguments)
	start_script, version = settings.find_prosody(given.prosody)
	return settings.Settings(
		prosody=start_script, prosody_version=version, runs=given.runs or (2 if given.quick else 5), quick=given.quick,
		only=set(given.only), module=settings.find_module(), peer=settings.find_peer(os.environ.get("PEER")),
		ejabberd=settings.find_ejabberd(given.ejabberd),
	)


def main(arguments=None):
	signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # and with it the servers
	_lock = settings.only_one()
	options = options_from(arguments)
	began = time.monotonic()

	def note(text):
		print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

	if not options.module:
		note("our module is not built (make build): its column stays empty")
	rows, busy = [], processes.busy_share(1.0)
	server, why = ejabberd.start_or_explain(options)
	if not server:
		note(f"ejabberd is not measured: {why}")
	early = ""
	try:
		for row in all_rows(options, server, note):
			rows.append(row)
			note("  " + "; ".join(f"{name} {report.number(value, row.unit)}" for name, value in row.values.items()))
	except (SystemExit, KeyboardInterrupt):
		early = "; ENDED EARLY: rows are missing"
	if server:
		server.stop()
	return hand_out(options, rows, time.monotonic() - began, why, busy, early)


def all_rows(options, server, note):
	for measure, keys in SCENES:
		if options.wants(*keys):
			yield from guarded(measure, keys, options, server, note)


def guarded(measure, keys, options, server, note):
	"""The rows of a scene; if it breaks down, a row that says so, and the other scenes go on."""
	try:
		yield from measure(options, server, note)
	except Exception as problem:
		traceback.print_exc()
		yield report.Row(keys[0], f"{', '.join(keys)}: broke down", "", failed=f"{type(problem).__name__}: {problem}")


def hand_out(options, rows, seconds, why, busy, early):
	about = (
		f"Prosody {options.prosody_version}, file storage "
		f"{'in memory' if settings.in_memory() else 'on disk'}, {os.cpu_count()} cores ({platform.machine()}), clients over "
		f"loopback TCP with quick acknowledgements, medians of {options.runs}, {seconds / 60:.1f} minutes in all"
		+ (f"; the machine was {busy:.0%} busy before the start: do it again when it is idle" if busy > 0.1 else "")
		+ (f"; ejabberd not measured: {why}" if why else "") + ("; QUICK: no verdict to rely on" if options.quick else "") + early + "."
	)
	text = report.document(rows, about, options.peer is not None)
	(settings.OUT / "results.md").write_text(text)
	(settings.OUT / "results.json").write_text(report.as_json(rows, about))
	drawn = plots.write(rows, settings.OUT)
	print(text)
	print("Written to target/bench:", ", ".join(["results.md", "results.json", *drawn]))
	return 1 if early or any(row.failed for row in rows) else 0
