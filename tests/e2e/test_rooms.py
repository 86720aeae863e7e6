"""Rooms follow membership, whatever is done to them by hand: as those see it who try to enter."""

from harness import settings
from harness.case import ServerCase, jid


class Rooms(ServerCase):
    USERS = ("alice", "bob", "carol", "dave", "mallory")

    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.accounts(*self.USERS)
        self.team = await self.group("Team", "alice", "bob", "carol", chat=True)
        self.room = (await self.server.groups("get_info", self.team))["muc_jid"]

    async def in_room(self, source, **values):
        """Runs Lua that has the room as `room`."""
        find = "local room = prosody.hosts[chats].modules.muc.get_room_from_jid(jid);"
        return await self.server.run(f"{find}\n{source}", chats=settings.CHAT_HOST, jid=self.room, **values)

    async def give(self, user, affiliation):
        """An affiliation given, or with None taken, by hand."""
        await self.in_room("assert(room:set_affiliation(true, user, affiliation))", user=jid(user), affiliation=affiliation)

    async def affiliations(self):
        source = "local all = {}; for user, affiliation in room:each_affiliation() do all[user] = affiliation; end return all;"
        found = dict(await self.in_room(source))
        return {user: found.get(jid(user)) for user in self.USERS}

    async def test_a_sync_lets_members_in_again_and_leaves_bans_and_owners(self):
        alice, bob, carol = [await self.online(user) for user in ("alice", "bob", "carol")]
        for device in (alice, bob, carol):
            self.assertEqual(await device.join(self.room), "joined")
        await alice.contact("bob", "Team")
        await bob.contact("alice", "Team")
        bob.pushes.clear()
        await self.give("alice", "owner")
        await self.give("bob", None)
        await self.give("carol", "outcast")
        for device in (bob, carol):
            await self.wait_for(
                lambda d=device: any(p.sender == f"{self.room}/{d.user}" and p.type == "unavailable" for p in d.presences),
                f"{device} is put out of the room",
            )
        self.assertEqual(await bob.join(self.room), "registration-required")

        await self.server.groups("sync", self.team)
        self.assertEqual(
            await self.affiliations(), {"alice": "owner", "bob": "member", "carol": "outcast", "dave": None, "mallory": None}
        )
        self.assertEqual(await bob.join(self.room), "joined")
        self.assertIn(await carol.join(self.room), ("forbidden", "registration-required"))
        self.assertEqual(await alice.join(self.room), "joined")
        warnings = [line[2] for line in self.server.log() if line[1] == "warn"]
        self.assertTrue(any(jid("carol") in line and self.room in line for line in warnings), f"the ban is told: {warnings}")
        self.assertEqual(bob.pushes, [], "the room is the room, the contact list stays")
        self.assertEqual(sorted(await self.server.groups("get_members", self.team)), ["alice", "bob", "carol"])

    async def test_a_room_that_is_read_from_storage_lets_members_in_again(self):
        await self.give("bob", None)
        await self.server.restart()
        bob = await self.online("bob")
        # The room is read when somebody first wants in, and looked after then.
        await bob.join(self.room)

        async def is_member():
            return (await self.affiliations())["bob"] == "member"

        await self.wait_for(is_member, "bob is a member of the room")
        self.assertEqual(await bob.join(self.room), "joined")

    async def test_strangers_stay_in_the_room_and_leave_it_only_when_that_is_enforced(self):
        mallory, dave = await self.online("mallory"), await self.online("dave")
        await self.give("mallory", "member")
        await self.give("dave", "admin")
        for device in (mallory, dave):
            self.assertEqual(await device.join(self.room), "joined")
        await self.server.groups("sync", self.team)
        enforced = self.options.get("groups_muc_enforce", False)
        self.assertEqual(
            await self.affiliations(),
            {"alice": "member", "bob": "member", "carol": "member", "dave": "admin", "mallory": None if enforced else "member"},
        )
        self.assertEqual(await mallory.join(self.room), "registration-required" if enforced else "joined")
        self.assertEqual(await dave.join(self.room), "joined")


class RoomsEnforced(Rooms):
    options = {"groups_muc_enforce": True}
