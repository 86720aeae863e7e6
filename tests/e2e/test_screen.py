"""What a person sees on the screen of profanity, a client that somebody else has written."""

from harness.case import ServerCase, jid
from harness.terminal import Profanity


class Screen(ServerCase):
    options = {"groups_remove_contacts": True}

    async def test_a_contact_its_label_its_presence_the_invitation_and_the_removal_are_seen_at_once(self):
        await self.accounts("alice", "bob")
        await self.online("bob")
        alice = Profanity(self.server, "alice")
        self.addCleanup(alice.stop)
        await alice.start()

        group = await self.group("Book Club", "alice", "bob", chat=True)
        room = (await self.server.groups("get_info", group))["muc_jid"]
        await alice.shows(
            f"Roster item added: {jid('bob')}",
            f"++ {jid('bob')} (phone) is online",
            f"Room   : {room}",
            "Message: You are a member of Book Club. This is the chat Book Club.",
        )
        alice.type("/roster")
        await alice.shows(f"{jid('bob')} - both - Book Club")
        alice.type(f"/join {room}")
        await alice.shows("You have joined the room", "affiliation: member")
        alice.type("/win 1")

        await self.server.groups("remove_member", group, "bob")
        await alice.shows(f"Roster item removed: {jid('bob')}")
