"""Rows with their promises, and what they look like on the page and as JSON."""

import itertools
import json
import statistics
from dataclasses import asdict, dataclass, field


@dataclass
class Row:
	"""The medians of one measurement by side. `verdict` is PASS, FAIL, or the reason why there is none."""

	key: str
	work: str
	unit: str
	promise: str = ""
	values: dict = field(default_factory=dict)
	samples: dict = field(default_factory=dict)
	notes: list = field(default_factory=list)
	checks: list = field(default_factory=list)
	size: int = 0
	failed: str = ""
	section: str = ""

	@classmethod
	def of(cls, key, work, unit, samples, **more):
		row = cls(key, work, unit, samples=samples, **more)
		row.values = {name: statistics.median(values) for name, values in samples.items() if values}
		return row

	def at_most(self, factor, other="floor", plus=0.0):
		"""Promises that ours is at most `factor` times the other side, and `plus` more."""
		if self.has("ours", other):
			self.checks.append(self.values["ours"] <= factor * self.values[other] + plus)
		return self

	def under(self, limit, name="ours"):
		if self.has(name):
			self.checks.append(self.values[name] < limit)
		return self

	def ahead_of_ejabberd(self):
		if self.has("ours", "ejabberd"):
			self.checks.append(self.values["ours"] < self.values["ejabberd"])
		elif "ours" in self.values:
			self.notes.append("ejabberd not measured: that half of the promise is open")
		return self

	def require(self, passed):
		self.checks.append(bool(passed))
		return self

	def has(self, *names):
		return all(name in self.values for name in names)

	def left(self, sides):
		"""Notes which sides gave up, and why."""
		self.notes += [f"{name}: {why}" for name, why in (sides or {}).items()]
		return self

	@property
	def verdict(self):
		if self.failed:
			return self.failed
		if "ours" not in self.values:
			return "ours not measured"
		if not self.promise:
			return "reported"
		if not self.checks:
			return "open"
		return "PASS" if all(self.checks) else "FAIL"

	def ratio(self, other):
		if not self.has("ours", other) or self.values[other] <= 0:
			return ""
		return f"{self.values['ours'] / self.values[other]:.2f}"


SIDES = (("ours", "ours"), ("floor", "floor"), ("ejabberd", "ejabberd"), ("peer", "PEER"))


def number(value, unit):
	if value is None:
		return "–"
	digits = 0 if value >= 1000 else 1 if value >= 10 else 2
	return f"{value:,.{digits}f} {unit}"


def table(rows, with_peer):
	shown = [side for side in SIDES if side[0] != "peer" or with_peer]
	head = ["work", shown[0][1]]
	for _, title in shown[1:]:
		head += [title, f"ours / {title}"]
	lines = [head + ["promise", "verdict"]]
	for row in rows:
		cells = [row.work, number(row.values.get("ours"), row.unit)]
		for name, _ in shown[1:]:
			cells += [number(row.values.get(name), row.unit), row.ratio(name) or "–"]
		lines.append(cells + [row.promise or "–", row.verdict])
	return lines


def markdown(lines):
	widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
	rendered = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines]
	rendered.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
	return "\n".join(rendered)


INTRODUCTION = """
- *ours* is this module. *floor* is the time that Prosody's own API takes for the least work: each record stored once,
  each roster saved once, each push sent once.{peer}
- Less is better in every row. *ours / floor* below 1 means that ours is faster.
- *stall* is the time that another client, which pings all the while, waits for an answer.
- *verdict* says whether the promise is kept. A row without a promise is only reported.
"""


def document(rows, about, with_peer):
	"""The page: a table for each section, and the notes of all rows."""
	peer = " *PEER* is the module in the folder that `PEER` names." if with_peer else ""
	text = ["# Speed of mod_groups_internal", "", about, INTRODUCTION.format(peer=peer)]
	for section, group in itertools.groupby(rows, lambda row: row.section):
		text += [f"## {section}", "", markdown(table(group, with_peer)), ""]
	notes = {}
	for row in rows:
		for note in row.notes:
			notes.setdefault(note, []).append(row.work)
	if notes:
		text += ["## Notes", ""]
		for note, works in notes.items():
			text.append(f"- {note} ({works[0] if len(works) == 1 else f'{len(works)} rows'})")
		text.append("")
	return "\n".join(text)


def as_json(rows, about):
	found = [dict(asdict(row), verdict=row.verdict) for row in rows]
	return json.dumps({"about": about, "rows": found}, indent=1, ensure_ascii=False)
