"""What came with a group goes with it (`groups_remove_contacts`), and its label follows its name: as clients see it.

Alice's desk remembers its list and asks with a version. Bob edits his list in between. Nobody online reconnects.
"""

from harness.case import ServerCase, jid
from harness.client import Item
from harness.waiting import wait_until

ZED = "zed@elsewhere.example"


def item(*labels, subscription="both", name=None):
    return Item(subscription, None, name, frozenset(labels))


class LifeCycle(ServerCase):
    options = {"groups_remove_contacts": True}

    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.accounts("alice", "bob", "carol", "dave", "erin", "frank")

    async def has(self, device, **contacts):
        """Waits until the device has these contacts, and no others but own ones elsewhere; then nothing more comes."""
        wanted = {jid(user): entry for user, entry in contacts.items()}

        def local():
            return {contact: entry for contact, entry in device.items.items() if contact != ZED}

        await wait_until(lambda: local() == wanted, lambda: f"{device} has {wanted}; it has {local()}")
        await device.fence()
        self.assertEqual(local(), wanted, str(device))

    async def has_stored(self, user, **contacts):
        """Waits for the same of a roster in storage."""
        wanted = {jid(contact): entry for contact, entry in contacts.items()}
        last = {}

        async def same():
            items = (await self.stored(user))["items"]
            last["items"] = {
                contact: Item(each["subscription"], each.get("ask"), each.get("name"), frozenset(each["groups"]))
                for contact, each in items.items()
                if contact != ZED
            }
            return last["items"] == wanted

        await wait_until(same, lambda: f"{user} has {wanted} in storage; it has {last['items']}")

    async def has_at_login(self, device, **contacts):
        """Logs in: the answer has these contacts. Once they are stored, the next login gets the short answer."""
        await device.login()
        await self.has(device, **contacts)
        self.assertEqual(device.pushes, [], f"{device}: the answer was not the whole truth")
        await self.has_stored(device.user, **contacts)
        await device.logout()
        await device.login()
        self.assertTrue(device.short_answer, f"{device}: nothing has changed since")
        await self.has(device, **contacts)
        await device.logout()

    async def befriended(self, one, other):
        """Makes two users contacts of each other, without a group."""
        for asking, asked in ((one, other), (other, one)):
            await asking.presence_to(asked.bare, "subscribe")
            await self.wait_for(
                lambda: any(p.type == "subscribe" and p.sender == asking.bare for p in asked.presences), "it is asked"
            )
            await asked.presence_to(asking.bare, "subscribed")
        await one.contact(other.user)
        await other.contact(one.user)

    def told_unavailable(self, device, other):
        return any(p.sender == other.full and p.type == "unavailable" for p in device.presences)

    async def test_contact_lists_follow_the_group_from_the_first_member_to_the_last_deletion(self):
        alice, bob, carol, dave = [await self.online(user) for user in ("alice", "bob", "carol", "dave")]
        desk = self.device("alice", "desk")
        await alice.edit(ZED, name="Zed", groups=("Choir",))
        await self.befriended(bob, carol)

        # Members join: an own contact gets the label too, one of two groups both.
        team = await self.group("Team", "alice", "bob", "carol", "dave", "erin", "frank")
        await self.group("Choir", "alice", "carol", "erin")
        both, one = item("Team", "Choir"), item("Team")
        of_alice = {"bob": one, "carol": both, "dave": one, "erin": both, "frank": one}
        await self.has(alice, **of_alice)
        await self.has(bob, alice=one, carol=one, dave=one, erin=one, frank=one)
        await self.has(carol, alice=both, bob=one, dave=one, erin=both, frank=one)
        await self.has(dave, alice=one, bob=one, carol=one, erin=one, frank=one)
        for device in (alice, bob, carol, dave):
            for other in {alice, bob, carol, dave} - {device}:
                await device.sees(other)
        await self.has_at_login(desk, **of_alice)

        # Bob makes what he likes of three of them.
        await bob.edit(jid("dave"), name="Davy", groups=("Team",))
        await bob.edit(jid("erin"), groups=("Team", "Friends"))
        await bob.edit(jid("frank"))
        edited = {"dave": item("Team", name="Davy"), "erin": item("Team", "Friends"), "frank": item()}
        await self.has(bob, alice=one, carol=one, **edited)

        # The group is renamed.
        await self.server.groups("set_info", team, {"name": "Crew"})
        both, one = item("Crew", "Choir"), item("Crew")
        of_alice = {"bob": one, "carol": both, "dave": one, "erin": both, "frank": one}
        davy, friend = item("Crew", name="Davy"), item("Crew", "Friends")
        of_bob = {"alice": one, "carol": one, "dave": davy, "erin": friend, "frank": one}
        await self.has(alice, **of_alice)
        await self.has(bob, **of_bob)
        await self.has(carol, alice=both, bob=one, dave=one, erin=both, frank=one)
        await self.has(dave, alice=one, bob=one, carol=one, erin=one, frank=one)
        await self.has_stored("frank", alice=one, bob=one, carol=one, dave=one, erin=one)
        await self.has_at_login(desk, **of_alice)

        # A member is removed: Bob keeps the name he gave, but neither see the other any more.
        for device in (alice, bob, carol, dave):
            device.presences.clear()
        await self.server.groups("remove_member", team, "dave")
        for contacts in (of_alice, of_bob):
            del contacts["dave"]
        davy = item(name="Davy", subscription="none")
        await self.has(alice, **of_alice)
        await self.has(bob, dave=davy, **of_bob)
        await self.has(carol, alice=both, bob=one, erin=both, frank=one)
        await self.has(dave)
        for device in (alice, bob, carol):
            await self.wait_for(lambda d=device: self.told_unavailable(d, dave), f"{device} is told that dave is gone")
            await self.wait_for(lambda d=device: self.told_unavailable(dave, d), f"dave is told that {device} is gone")
            await device.fence()
            self.assertEqual(device.seen & {dave.full}, set(), str(device))
        await self.has_stored("erin", alice=both, bob=one, carol=both, frank=one)
        await self.has_at_login(desk, **of_alice)

        # The group is deleted: what the other group brings stays, and what was there before.
        for device in (alice, bob, carol):
            device.presences.clear()
        await self.server.groups("delete", team)
        choir = item("Choir")
        of_bob = {"carol": item(), "dave": davy, "erin": item("Friends", subscription="none")}
        await self.has(alice, carol=choir, erin=choir)
        await self.has(bob, **of_bob)
        await self.has(carol, alice=choir, bob=item(), erin=choir)
        await self.wait_for(lambda: self.told_unavailable(alice, bob), "alice is told that bob is gone")
        await self.wait_for(lambda: self.told_unavailable(bob, alice), "bob is told that alice is gone")
        for device, other in ((bob, carol), (carol, bob), (alice, carol), (carol, alice)):
            await device.fence()
            self.assertIn(other.full, device.seen, f"{device} still sees {other}")
            self.assertFalse(self.told_unavailable(device, other))
        await self.has_stored("frank")
        await self.has_stored("erin", alice=choir, carol=choir)
        await self.has_at_login(desk, carol=choir, erin=choir)

        # An account is deleted.
        await self.delete_account("erin")
        await self.has(alice, carol=choir)
        await self.has(carol, alice=choir, bob=item())
        await self.has(bob, **of_bob)
        await self.has_at_login(desk, carol=choir)

        self.assertEqual(alice.items[ZED], item("Choir", name="Zed", subscription="none"), "an own contact stays")
        left = ((alice, {"carol": choir}), (bob, of_bob), (carol, {"alice": choir, "bob": item()}), (dave, {}))
        for device, contacts in left:
            await self.has_stored(device.user, **contacts)
        await self.server.restart()
        for device, contacts in left:
            device.drop()
            await device.login()
            await self.has(device, **contacts)

    async def test_a_kill_right_after_a_removal_takes_the_contact_from_a_device_that_was_offline(self):
        phone, desk = await self.online("alice", "phone"), await self.online("alice", "desk")
        team = await self.group("Team", "alice", "bob", "carol")
        for device in (phone, desk):
            for user in ("bob", "carol"):
                await device.contact(user, "Team")
        await self.stored_complete(["alice", "bob", "carol"], "Team")
        await desk.logout()
        await self.server.groups("remove_member", team, "bob")
        await phone.gone(jid("bob"))
        self.server.kill()
        phone.drop()
        await self.server.start()
        for device in (phone, desk):
            await self.has_at_login(device, carol=item("Team"))
        await self.has_stored("bob")

    async def test_what_a_user_has_made_of_contacts_counts_after_a_kill_too(self):
        alice = await self.online("alice")
        team = await self.group("Team", "alice", "bob", "carol", "dave", "erin")
        one = item("Team")
        for user in ("alice", "bob", "carol", "dave", "erin"):
            others = {"alice", "bob", "carol", "dave", "erin"} - {user}
            await self.has_stored(user, **dict.fromkeys(others, one))
        await alice.edit(jid("bob"))
        await alice.edit(jid("carol"), name="Caro", groups=("Team",))
        await alice.edit(jid("dave"), groups=("Friends",))
        await self.has(alice, bob=item(), carol=item("Team", name="Caro"), dave=item("Friends"), erin=one)
        self.server.kill()
        alice.drop()
        await self.server.start()
        for user in ("bob", "carol", "dave", "erin"):
            await self.server.groups("remove_member", team, user)
        kept = {"carol": item(name="Caro", subscription="none"), "dave": item("Friends", subscription="none")}
        await self.has_at_login(alice, **kept)
        for user in ("bob", "carol", "dave", "erin"):
            await self.has_stored(user)


class LifeCycleOnSqlite(LifeCycle):
    storage = "sql"
