"""Data in the published layout, written straight into the folders that Prosody's file storage reads."""

import pathlib

from .settings import GROUP, HOST, LABEL, PASSWORD


def encode(name):
	return "".join(c if c.isascii() and c.isalnum() else "%%%02x" % b for c in name for b in c.encode()[:1])


class Stores:
	def __init__(self, data):
		self.root = pathlib.Path(data) / encode(HOST)
		self.made = set()

	def write(self, store, key, text):
		folder = self.root / store
		if store not in self.made:
			folder.mkdir(parents=True, exist_ok=True)
			self.made.add(store)
		(folder / (encode(key) + ".dat")).write_text("return {\n" + text + "};\n")

	def accounts(self, users):
		for user in users:
			self.write("accounts", user, f'\t["password"] = "{PASSWORD}";\n')

	def group(self, members, group=GROUP, label=LABEL):
		self.write("group_info", group, f'\t["name"] = "{label}";\n')
		self.write("groups", group, "".join(f'\t["{member}"] = {{}};\n' for member in members))

	def roster(self, user, members, label):
		"""Writes the roster of one member of one group."""
		self.write("roster", user, METADATA + "".join(item(other, [label]) for other in members if other != user))

	def rosters(self, groups):
		"""Writes every roster as it is when all is settled. `groups` is a list of (label, members)."""
		labels = {}
		for label, members in groups:
			for user in members:
				mine = labels.setdefault(user, {})
				for other in members:
					mine.setdefault(other, []).append(label)
		for user, contacts in labels.items():
			contacts.pop(user)
			self.write("roster", user, METADATA + "".join(item(other, names) for other, names in contacts.items()))


METADATA = '\t[false] = {\n\t\t["pending"] = {};\n\t\t["version"] = 1;\n\t};\n'


def item(user, labels):
	groups = "".join(f'["{label}"] = true; ' for label in labels)
	return f'\t["{user}@{HOST}"] = {{\n\t\t["subscription"] = "both";\n\t\t["groups"] = {{ {groups}}};\n\t}};\n'


def contact_bytes(data):
	"""Returns what contact lists take in storage: all stores but those of accounts and groups."""
	root = pathlib.Path(data) / encode(HOST)
	files = [path for path in root.rglob("*") if path.is_file()]
	return sum(path.stat().st_size for path in files if path.relative_to(root).parts[0] not in NO_CONTACTS)


NO_CONTACTS = ("accounts", "groups", "group_info")
