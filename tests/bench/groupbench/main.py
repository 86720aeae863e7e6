"""The command line: measures the wanted rows, and writes them as a page and as JSON."""

import argparse
import os
import platform
import signal
import sys
import time
import traceback

from . import (
	add, bulk, calls, change, chats, databases, ejabberd, growth, login, many, presence, processes, report, scale, settings,
	settled, sync, virtual,
)

SCENES = (
	("One member added, one account deleted", add.rows, ("add", "add-online", "stall", "delete")),
	("The first sync of a group", sync.rows, ("sync", "sync-wall", "sync-call")),
	("A group that grows", growth.rows, ("growth", "growth-requests")),
	("Users in many groups", many.rows, ("many-groups", "many-groups-left")),
	("Renames and removals", change.rows, ("rename", "removal")),
	("Groups with chats", chats.rows, ("chats",)),
	("Many members at once", bulk.rows, ("bulk", "bulk-stall")),
	("Logins", login.rows, ("login",)),
	("Presence", presence.stall_rows, ("presence",)),
	("Presence", presence.storm_rows, ("storm", "storm-stall")),
	("Virtual contact lists", virtual.login_rows, ("virtual-login", "virtual-memory")),
	("Virtual contact lists", virtual.storage_rows, ("storage",)),
	("Calls into storage", calls.rows, ("calls",)),
	("Nothing to do", settled.rows, ("settled", "bind")),
	("Many groups", scale.rows, ("lookups", "memory", "start")),
)


def options_from(arguments):
	keys = [key for _, _, names in SCENES for key in names]
	parser = argparse.ArgumentParser(
		prog="tests/bench/run",
		description="Measures mod_groups_internal against Prosody's own least cost and ejabberd, on live servers. "
		"The environment's PEER=DIR adds another plugin folder that has a mod_groups_internal.",
	)
	parser.add_argument("--only", action="append", default=[], choices=keys, metavar="ROW", help=", ".join(keys))
	parser.add_argument("--runs", type=int, help="measurements a side and row (5)")
	parser.add_argument("--prosody", default="13", help="0.12, 13 (default) or the path of a start script")
	parser.add_argument("--storage", choices=databases.NAMES, default="internal", help="internal: files")
	parser.add_argument("--quick", action="store_true", help="small sizes, 2 runs: does it work at all?")
	given = parser.parse_args(arguments)
	start_script, version = settings.find_prosody(given.prosody)
	return settings.Settings(
		prosody=start_script, prosody_version=version, storage=given.storage, runs=given.runs or (2 if given.quick else 5), quick=given.quick,
		only=set(given.only), module=settings.find_module(), peer=settings.find_peer(os.environ.get("PEER")),
	)


def main(arguments=None):
	signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # stops the servers, too
	_lock = settings.only_one()
	options = options_from(arguments)
	began = time.monotonic()

	def note(text):
		print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

	if not options.module:
		note("our module is not built (make build): its column stays empty")
	rows, busy = [], processes.busy_share(1.0)
	server, why = ejabberd.start_or_explain()
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
	for section, measure, keys in SCENES:
		if options.wants(*keys):
			for row in guarded(measure, keys, options, server, note):
				row.section = section
				yield row


def guarded(measure, keys, options, server, note):
	"""Yields the rows of a scene. If it breaks down, a row says so, and the other scenes go on."""
	try:
		yield from measure(options, server, note)
	except Exception as problem:
		traceback.print_exc()
		yield report.Row(keys[0], f"{', '.join(keys)}: broke down", "", failed=f"{type(problem).__name__}: {problem}")


def hand_out(options, rows, seconds, why, busy, early):
	about = (
		f"Prosody {options.prosody_version}, {databases.NAMES[options.storage]} "
		f"{'in memory' if settings.in_memory() else 'on disk'}, "
		+ (f"ejabberd not measured: {why}, " if why else f"ejabberd {settings.ejabberd_version()}, ")
		+ f"{os.cpu_count()} cores ({platform.machine()}), clients over loopback TCP with quick acknowledgements, "
		f"medians of {options.runs}, {seconds / 60:.1f} minutes in all"
		+ (f"; the machine was {busy:.0%} busy before the start: do it again when it is idle" if busy > 0.1 else "")
		+ ("; QUICK: no verdict to rely on" if options.quick else "") + early + "."
	)
	text = report.document(rows, about, options.peer is not None)
	(settings.OUT / "speed.md").write_text(text)
	(settings.OUT / "speed.json").write_text(report.as_json(rows, about))
	print(text)
	print("Written to target/bench: speed.md, and with all samples speed.json")
	return 1 if early or any(row.failed for row in rows) else 0
