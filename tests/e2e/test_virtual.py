"""Virtual contact lists (`groups_roster_mode`), as clients see them: like stored ones, with nothing in storage."""

from harness.case import ServerCase, jid
from harness.client import Item
from harness.waiting import wait_until


def item(*labels, subscription="both", name=None):
    return Item(subscription, None, name, frozenset(labels))


class VirtualLists(ServerCase):
    options = {"groups_roster_mode": "virtual"}

    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.accounts("alice", "bob", "carol")

    async def has(self, device, **contacts):
        wanted = {jid(user): entry for user, entry in contacts.items()}
        await wait_until(lambda: device.items == wanted, lambda: f"{device} has {wanted}; it has {device.items}")
        await device.fence()
        self.assertEqual(device.items, wanted, str(device))

    async def nothing_is_stored(self):
        for user in ("alice", "bob", "carol"):
            self.assertEqual((await self.stored(user))["items"], {}, user)

    async def test_members_see_each_other_come_and_go_without_reconnecting_and_nothing_is_stored(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        team = await self.group("Team", "alice", "bob", "carol")
        await self.has(alice, bob=item("Team"), carol=item("Team"))
        await self.has(bob, alice=item("Team"), carol=item("Team"))
        await alice.sees(bob)
        await bob.sees(alice)
        carol = await self.online("carol")
        await self.has(carol, alice=item("Team"), bob=item("Team"))
        await carol.sees(alice)

        bob.presences.clear()
        await self.server.groups("remove_member", team, "bob")
        await self.has(alice, carol=item("Team"))
        await self.has(bob)
        await self.wait_for(
            lambda: any(p.sender == alice.full and p.type == "unavailable" for p in bob.presences), "bob sees alice go"
        )
        await self.nothing_is_stored()

    async def test_a_device_with_roster_versioning_gets_the_short_answer_until_the_list_changes(self):
        team = await self.group("Team", "alice", "bob")
        desk = self.device("alice", "desk")
        await desk.login()
        await self.has(desk, bob=item("Team"))
        await desk.logout()
        for restart in (False, True):
            if restart:
                await self.server.stop()
                await self.server.start()
            await desk.login()
            self.assertTrue(desk.short_answer, f"nothing has changed; restarted: {restart}")
            await self.has(desk, bob=item("Team"))
            await desk.logout()
        await self.server.groups("add_member", team, "carol")
        await desk.login()
        self.assertFalse(desk.short_answer, "carol is new")
        await self.has(desk, bob=item("Team"), carol=item("Team"))
        await self.server.groups("remove_member", team, "bob")
        await self.has(desk, carol=item("Team"))
        await desk.logout()
        await desk.login()
        self.assertTrue(desk.short_answer, "the push has brought the last of it")
        await self.has(desk, carol=item("Team"))

    async def test_a_contact_that_is_edited_keeps_what_the_user_made_of_it_over_a_kill(self):
        team = await self.group("Team", "alice", "bob")
        alice = await self.online("alice")
        await alice.edit(jid("bob"), name="Bobby", groups=("Team", "Friends"))
        edited = item("Team", "Friends", name="Bobby")
        await self.has(alice, bob=edited)
        await alice.logout()
        self.server.kill()
        await self.server.start()
        await alice.login()
        await self.has(alice, bob=edited)
        await self.server.groups("remove_member", team, "bob")
        await self.has(alice)
        await self.server.groups("add_member", team, "bob")
        await self.has(alice, bob=edited)
        await self.nothing_is_stored()
