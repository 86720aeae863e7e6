"""Rows: calls into storage. A call that reads or writes one record, of whatever size, counts as one."""

from . import control, prosody, settings, stores
from .report import Row
from .settings import GROUP, LABEL

FEW, MANY = 50, 500
NEW = "newcomer"
LIMIT = 300.0

# What is done to a group, one after the other: in words, the function, its arguments, and how many contact lists it
# changes. Who leaves a group stays in the lists, unless an option says otherwise.
CHANGES = (
	("one added", "add_member", (GROUP, NEW), MANY + 1),
	("one removed", "remove_member", (GROUP, NEW), 0),
	("renamed", "set_info", (GROUP, {"name": "Another name"}), MANY),
	("deleted", "delete", (GROUP,), 0),
)


def rows(options, _ejabberd, note):
	if not options.module:
		return
	note(f"calls into storage, groups of {FEW} and {MANY}")
	small, large = counted(options, FEW), counted(options, MANY)
	for work, _, _, lists in CHANGES:
		at_once, later = large[work]
		row = row_of(f"{work}, {MANY} members, nobody online: before the call returns", at_once, f"as with {FEW}")
		yield row.require(at_once == small[work][0])
		row = row_of(f"{work}, {MANY} members, nobody online: afterwards", later, "each list is read and written once")
		yield row.require(all(later.get(f"roster {what}", 0) <= lists for what in ("read", "write")))


def row_of(work, calls, promise):
	row = Row.of("calls", work, "calls", {"ours": [sum(calls.values())]}, promise=promise)
	row.notes.append(", ".join(f"{what} {times}" for what, times in sorted(calls.items())) or "no call at all")
	return row


def counted(options, size):
	"""Returns for each change the calls before it returns, and those afterwards, by "store read" and "store write"."""
	members = [f"m{number}" for number in range(size)]
	server = prosody.Prosody(options, "ours", options.module)
	store = stores.Stores(server.data)
	store.accounts([*members, NEW])
	store.group(members)
	store.rosters([(LABEL, members)])
	try:
		server.start().settle(timeout=LIMIT)
		found = {}
		for work, name, arguments, _ in CHANGES:
			server.calls()
			given = ", ".join(map(control.quote, arguments))
			at_once = server.lua(f"return prosody.hosts[host].modules.bench_tools.calls_of(groups.{name}, {given})")
			server.settle(timeout=LIMIT)
			found[work] = {what: int(times) for what, times in at_once.items()}, server.calls()
		return found
	finally:
		server.kill()
