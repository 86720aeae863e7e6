"""Cost against group size as SVG, by hand: two logarithmic axes and a handful of lines."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 86, 150, 46, 52
COLOURS = {"ours": "#0b6e4f", "floor": "#888888", "ejabberd": "#c8553d", "peer": "#5b5bd6", "today": "#222222"}
NAMES = {"ours": "ours", "floor": "floor", "ejabberd": "ejabberd", "peer": "PEER", "today": "today's Lua module"}


@dataclass
class Plot:
	"""`today` holds the published figures of the Lua module that ours replaces, by group size."""

	key: str
	file: str
	title: str
	today: dict
	remark: str = ""


PLOTS = (
	Plot("add", "add.svg", "One member added, offline: until all who are online have the push",
		{50: 1402, 200: 13167, 500: 60000}, "today: 10 of 50 and 20 of 200 online; at 500 minutes, drawn at one"),
	Plot("add-online", "add-online.svg", "One member added, online: until all have all pushes and presences",
		{50: 1402, 200: 13167, 500: 60000}, "today: pushes only, the presences never come"),
	Plot("stall", "stall.svg", "Longest stall of the server while one member is added",
		{50: 1402, 200: 13167, 500: 60000}, "today: stalled all the while"),
	Plot("sync-wall", "sync.svg", "First sync, nobody online: until all contact lists are in storage", {40: 4900, 100: 107000}),
	Plot("login", "login.svg", "Login: bind and contact list (floor: module off)",
		{200: 5.5, 500: 10}, "today: once each contact's list has been read"),
)


class Axes:
	def __init__(self, points):
		sizes, costs = [x for x, _ in points], [y for _, y in points]
		self.sizes = sorted(set(sizes))
		self.low_x, self.high_x = math.log10(min(sizes) * 0.85), math.log10(max(sizes) * 1.18)
		self.low_y, self.high_y = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))
		if self.low_y == self.high_y:
			self.high_y += 1

	def x(self, size):
		share = (math.log10(size) - self.low_x) / (self.high_x - self.low_x)
		return LEFT + share * (WIDTH - LEFT - RIGHT)

	def y(self, cost):
		share = (math.log10(cost) - self.low_y) / (self.high_y - self.low_y)
		return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

	def draw(self):
		right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
		for power in range(self.low_y, self.high_y + 1):
			y = self.y(10**power)
			yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#dddddd"/>'
			yield text(LEFT - 8, y + 4, f"{10**power:,g} ms", "end")
		for size in self.sizes:
			x = self.x(size)
			yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#eeeeee"/>'
			yield text(x, bottom + 18, str(size), "middle")
		yield text((LEFT + right) / 2, HEIGHT - 14, "members of the group", "middle")
		yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#555555"/>'


def text(x, y, words, anchor="start", size=12, colour="#333333"):
	return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def series(rows, plot):
	"""The points of each line, by the name of its side."""
	lines = {}
	for row in rows:
		if row.key == plot.key and row.size:
			for name, value in row.values.items():
				lines.setdefault(name, []).append((row.size, max(value, 1e-3)))
	if lines:
		lines["today"] = list(plot.today.items())
	return {name: sorted(points) for name, points in lines.items()}


def apart(labels, gap=15):
	"""The labels' heights, moved so that none covers another."""
	placed, last = {}, -1e9
	for name, y in sorted(labels.items(), key=lambda label: label[1]):
		last = placed[name] = max(y, last + gap)
	return placed


def line(name, points, axes):
	colour = COLOURS[name]
	path = " ".join(f"{axes.x(size):.1f},{axes.y(cost):.1f}" for size, cost in points)
	dashes = ' stroke-dasharray="6 4"' if name in ("today", "floor") else ""
	yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
	for size, cost in points:
		shown = f"{NAMES[name]}, {size} members: {cost:,.3g} ms"
		yield f'<circle cx="{axes.x(size):.1f}" cy="{axes.y(cost):.1f}" r="3.5" fill="{colour}"><title>{escape(shown)}</title></circle>'


def svg(plot, lines):
	axes = Axes([point for points in lines.values() for point in points])
	parts = [
		f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
		f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
		text(14, 20, plot.title, size=14), text(14, 36, plot.remark, size=11, colour="#777777"),
		*axes.draw(),
	]
	for name, points in lines.items():
		parts += line(name, points, axes)
	heights = apart({name: axes.y(points[-1][1]) + 4 for name, points in lines.items()})
	parts += [text(WIDTH - RIGHT + 10, y, NAMES[name], colour=COLOURS[name]) for name, y in heights.items()]
	return "\n".join(parts + ["</svg>", ""])


def write(rows, folder):
	"""The plots for which there are rows."""
	written = []
	for plot in PLOTS:
		lines = series(rows, plot)
		if lines:
			(folder / plot.file).write_text(svg(plot, lines))
			written.append(plot.file)
	return written
