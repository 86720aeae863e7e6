"""A device: an XMPP client that keeps its contact list and the list's version between logins, as real ones do."""

import asyncio
import collections
from xml.etree import ElementTree as ET

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

from . import settings
from .waiting import wait_until

ROSTER = "{jabber:iq:roster}"
CLIENT = "{jabber:client}"
MUC = "{http://jabber.org/protocol/muc}"
MUC_USER = "{http://jabber.org/protocol/muc#user}"
CONFERENCE = "{jabber:x:conference}"
ERRORS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"

Item = collections.namedtuple("Item", "subscription ask name groups")
Push = collections.namedtuple("Push", "jid item version")
Presence = collections.namedtuple("Presence", "sender type codes condition")
Invite = collections.namedtuple("Invite", "sender room")


def parse_item(element):
    groups = frozenset(group.text or "" for group in element.findall(ROSTER + "group"))
    return Item(element.get("subscription"), element.get("ask"), element.get("name"), groups)


def parse_presence(xml):
    codes = {status.get("code") for status in xml.iter(MUC_USER + "status")}
    condition = None
    error = xml.find(CLIENT + "error")
    if error is not None:
        condition = next((child.tag[len(ERRORS):] for child in error if child.tag.startswith(ERRORS)), "unknown")
    return Presence(xml.get("from"), xml.get("type"), codes, condition)


class Device:
    """`items` and `version` outlive the session; everything else is about the present one."""

    def __init__(self, server, user, resource):
        self.server = server
        self.user = user
        self.bare = f"{user}@{settings.HOST}"
        self.full = f"{self.bare}/{resource}"
        self.items = {}
        self.version = ""
        self.xmpp = None
        #: Streams of the past: slixmpp's task for one must not be collected while it ends.
        self.ended = []
        self._forget_session()

    def __str__(self):
        return self.full

    def _forget_session(self):
        self.pushes = []
        self.presences = []
        self.invites = []
        self.texts = []
        self.seen = set()
        self.short_answer = None

    async def login(self, available=True):
        """Connects, fetches the contact list with the version known from before, and becomes available."""
        assert self.xmpp is None, f"{self} is logged in already"
        self._forget_session()
        xmpp = self._new_stream()
        started = asyncio.get_running_loop().create_future()

        def end(outcome):
            if not started.done():
                started.set_result(outcome)

        xmpp.add_event_handler("session_start", lambda _: end("started"))
        xmpp.add_event_handler("failed_all_auth", lambda _: end("authentication failed"))
        xmpp.add_event_handler("disconnected", lambda reason: end(f"disconnected: {reason}"))
        xmpp.connect("127.0.0.1", self.server.c2s_port)
        outcome = await asyncio.wait_for(started, 20)
        assert outcome == "started", f"{self}: {outcome}"
        self.xmpp = xmpp
        await self.fetch_roster()
        if available:
            xmpp.send_presence()
            await self.fence()

    def _new_stream(self):
        plain = {"feature_mechanisms": {"unencrypted_plain": True}}
        xmpp = ClientXMPP(self.full, settings.PASSWORD, plugin_config=plain, sasl_mech="PLAIN")
        xmpp.enable_starttls = xmpp.enable_direct_tls = False
        xmpp.enable_plaintext = True
        xmpp.auto_authorize = None
        xmpp.auto_subscribe = False
        xmpp.add_filter("in", self._incoming)
        return xmpp

    async def fetch_roster(self):
        """Asks with the version that this device remembers; an answer without items leaves what it remembers."""
        iq = self.xmpp.make_iq_get()
        iq.append(ET.Element(ROSTER + "query", ver=self.version))
        answer = await iq.send(timeout=20)
        self.short_answer = answer.xml.find(ROSTER + "query") is None

    async def logout(self):
        """Leaves as a well-behaved client does; returns when the server knows."""
        xmpp, self.xmpp = self.xmpp, None
        self.ended.append(xmpp)
        await xmpp.disconnect(wait=5)
        await wait_until(
            lambda: self.server.run("return prosody.full_sessions[jid] == nil", jid=self.full), f"{self} is logged out"
        )

    def drop(self):
        """Drops the connection without a word, as after a kill of the server."""
        xmpp, self.xmpp = self.xmpp, None
        if xmpp is not None:
            self.ended.append(xmpp)
            xmpp.abort()

    async def fence(self):
        """Returns when everything that the server has sent so far is here."""
        iq = self.xmpp.make_iq_get(ito=settings.HOST)
        iq.append(ET.Element("{urn:xmpp:ping}ping"))
        try:
            await iq.send(timeout=20)
        except IqError:
            pass

    def _incoming(self, stanza):
        """Sees every stanza in the order of the stream, before slixmpp's handlers do."""
        kind = stanza.xml.tag.rpartition("}")[2]
        if kind == "iq":
            self._roster(stanza.xml)
        elif kind == "presence":
            self._presence(parse_presence(stanza.xml))
        elif kind == "message":
            self._message(stanza.xml)
        return stanza

    def _roster(self, xml):
        query = xml.find(ROSTER + "query")
        if query is None or xml.get("type") not in ("set", "result"):
            return
        if xml.get("type") == "result":
            self.items = {}
        for element in query.findall(ROSTER + "item"):
            item = parse_item(element)
            if item.subscription == "remove":
                self.items.pop(element.get("jid"), None)
            else:
                self.items[element.get("jid")] = item
            if xml.get("type") == "set":
                self.pushes.append(Push(element.get("jid"), item, query.get("ver")))
        if query.get("ver") is not None:
            self.version = query.get("ver")

    def _presence(self, presence):
        self.presences.append(presence)
        if presence.type is None:
            self.seen.add(presence.sender)
        elif presence.type == "unavailable":
            bare = presence.sender.partition("/")[0]
            gone = {presence.sender} if "/" in presence.sender else {s for s in self.seen if s.startswith(bare + "/")}
            self.seen -= gone

    def _message(self, xml):
        invite = xml.find(CONFERENCE + "x")
        if invite is not None:
            self.invites.append(Invite(xml.get("from"), invite.get("jid")))
        body = xml.find(CLIENT + "body")
        if body is not None:
            self.texts.append((xml.get("from"), body.text))

    async def contact(self, user, *labels):
        """Waits until this device has the user as a mutual contact, with these labels among the item's groups."""
        jid = f"{user}@{settings.HOST}"

        def there():
            item = self.items.get(jid)
            return item is not None and item.subscription == "both" and not item.ask and item.groups >= set(labels)

        await wait_until(there, lambda: f"{self} has {jid} with {labels}; its list: {self.items}")

    async def sees(self, other):
        """Waits until this device sees the other one online."""
        await wait_until(
            lambda: other.full in self.seen, lambda: f"{self} sees {other} online; it sees {sorted(self.seen)}"
        )

    async def gone(self, jid):
        """Waits until the contact is gone from this device."""
        await wait_until(lambda: jid not in self.items, lambda: f"{jid} is gone from {self}: {self.items}")

    async def unseen(self, other):
        """Waits until this device sees the other one offline."""
        await wait_until(lambda: other.full not in self.seen, f"{self} sees {other} offline")

    async def edit(self, jid, subscription=None, name=None, groups=()):
        """Edits one item of the contact list, or with subscription `remove` removes it."""
        iq = self.xmpp.make_iq_set()
        query = ET.Element(ROSTER + "query")
        attributes = {key: value for key, value in (("subscription", subscription), ("name", name)) if value}
        item = ET.SubElement(query, ROSTER + "item", jid=jid, **attributes)
        for group in groups:
            ET.SubElement(item, ROSTER + "group").text = group
        iq.append(query)
        await iq.send(timeout=20)

    async def presence_to(self, jid, kind):
        """Sends presence of this type (`subscribe`, …); returns when the server has handled it."""
        self.xmpp.send_presence(pto=jid, ptype=kind)
        await self.fence()

    async def join(self, room, nick=None):
        """Tries to enter a room. Returns "joined", or the condition of the refusal."""
        occupant = f"{room}/{nick or self.user}"
        start = len(self.presences)
        presence = self.xmpp.make_presence(pto=occupant)
        presence.append(ET.Element(MUC + "x"))
        presence.send()

        def answer():
            for each in self.presences[start:]:
                if each.sender == occupant and each.type == "error":
                    return each.condition
                if each.sender == occupant and each.type is None and "110" in each.codes:
                    return "joined"
            return None

        return await wait_until(answer, f"{self} is told whether it may enter {room}")

    def say(self, room, text):
        self.xmpp.send_message(mto=room, mbody=text, mtype="groupchat")
