"""Contacts that were there before the group, and what a user does to the group's contacts."""

from harness.case import ServerCase, jid


class OwnContacts(ServerCase):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.accounts("alice", "bob", "carol")

    async def befriended(self, step):
        """Alice and Bob, both online, whose subscriptions have come as far as `step`."""
        alice, bob = await self.online("alice"), await self.online("bob")
        if step == "listed":
            return alice, bob
        await alice.presence_to(bob.bare, "subscribe")
        await self.wait_for(lambda: any(p.type == "subscribe" for p in bob.presences), "bob is asked")
        if step == "asked":
            return alice, bob
        await bob.presence_to(alice.bare, "subscribed")
        await self.wait_for(lambda: alice.items[bob.bare].subscription == "to", "alice may see bob")
        if step == "one-sided":
            return alice, bob
        await bob.presence_to(alice.bare, "subscribe")
        await self.wait_for(lambda: any(p.type == "subscribe" for p in alice.presences), "alice is asked")
        return alice, bob

    async def check_clean(self):
        """In storage both have the other as `both`, and nobody is asked for anything any more."""
        await self.stored_complete(["alice", "bob"], "Team")
        for user, other in (("alice", "bob"), ("bob", "alice")):
            roster = await self.stored(user)
            self.assertEqual(roster["pending"], [], f"{user} is still asked")
            self.assertIsNone(roster["items"][jid(other)].get("ask"), f"{user} still asks")

    async def check_not_asked_at_login(self, *devices):
        """At a new login nobody is asked for a subscription, and each sees the other."""
        for device in devices:
            if device.xmpp:
                await device.logout()
        for device in devices:
            await device.login()
        for device in devices:
            await device.fence()
            asked = [p for p in device.presences if p.type == "subscribe"]
            self.assertEqual(asked, [], f"{device} is asked at login")
        await devices[0].sees(devices[1])
        await devices[1].sees(devices[0])

    async def test_a_contact_there_before_keeps_its_name_and_groups_and_ends_as_both(self):
        alice, bob = await self.befriended("listed")
        await alice.edit(bob.bare, name="Bobby", groups=("Friends", "Work"))
        self.assertEqual(alice.items[bob.bare].subscription, "none")
        await self.group("Team", "alice", "bob")
        await alice.contact("bob", "Team")
        self.assert_contact(alice, "bob", "Friends", "Work", "Team", name="Bobby")
        await bob.contact("alice", "Team")
        self.assert_contact(bob, "alice", "Team")
        await alice.sees(bob)
        await bob.sees(alice)
        await self.check_clean()
        item = (await self.stored("alice"))["items"][bob.bare]
        self.assertEqual((item["name"], sorted(item["groups"])), ("Bobby", ["Friends", "Team", "Work"]))

    async def test_a_contact_of_an_offline_member_keeps_its_name_and_groups(self):
        alice, bob = await self.befriended("listed")
        await alice.edit(bob.bare, name="Bobby", groups=("Friends",))
        await alice.logout()
        await self.group("Team", "alice", "bob")
        await bob.contact("alice", "Team")
        await self.check_clean()
        item = (await self.stored("alice"))["items"][bob.bare]
        self.assertEqual((item["name"], sorted(item["groups"])), ("Bobby", ["Friends", "Team"]))
        await alice.login()
        self.assert_contact(alice, "bob", "Friends", "Team", name="Bobby")

    async def check_step(self, step, *offline):
        """The pair's subscriptions end clean, with these users offline while they become members."""
        pair = await self.befriended(step)
        for device in pair:
            if device.user in offline:
                await device.logout()
        await self.group("Team", "alice", "bob")
        for device, other in zip(pair, ("bob", "alice")):
            if device.user not in offline:
                await device.contact(other, "Team")
        await self.check_clean()
        await self.check_not_asked_at_login(*pair)
        for device, other in zip(pair, ("bob", "alice")):
            self.assert_contact(device, other, "Team")

    async def test_an_asked_and_pending_subscription_ends_clean_with_both_online(self):
        await self.check_step("asked")

    async def test_an_asked_subscription_ends_clean_with_the_asker_offline(self):
        await self.check_step("asked", "alice")

    async def test_a_pending_subscription_ends_clean_with_the_asked_offline(self):
        await self.check_step("asked", "bob")

    async def test_an_asked_and_pending_subscription_ends_clean_with_both_offline(self):
        await self.check_step("asked", "alice", "bob")

    async def test_a_one_sided_subscription_ends_as_both(self):
        await self.check_step("one-sided")

    async def test_a_one_sided_subscription_of_offline_members_ends_as_both(self):
        await self.check_step("one-sided", "alice", "bob")

    async def test_a_one_sided_subscription_with_the_other_side_asked_for_ends_as_both(self):
        await self.check_step("asked back")

    async def test_a_removed_contact_is_back_at_the_next_login_and_not_before(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        group = await self.group("Team", "alice", "bob")
        await alice.contact("bob", "Team")
        await bob.contact("alice", "Team")
        await self.stored_complete(["alice", "bob"], "Team")
        await alice.edit(bob.bare, subscription="remove")
        await alice.gone(bob.bare)

        await self.server.groups("add_member", group, "carol")
        await alice.contact("carol", "Team")
        await self.stored_complete(["bob", "carol"])
        await alice.fence()
        self.assertNotIn(bob.bare, alice.items, "it was the user's wish, for this session")

        await alice.logout()
        await alice.login()
        self.assert_contact(alice, "bob", "Team")
        self.assert_contact(alice, "carol", "Team")
        await bob.logout()
        await bob.login()
        self.assert_contact(bob, "alice", "Team")
        await alice.sees(bob)
        await bob.sees(alice)
        await self.stored_complete(["alice", "bob", "carol"], "Team")

    async def test_a_contact_unsubscribed_from_is_mutual_again_at_the_next_login_and_not_before(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        await self.group("Team", "alice", "bob")
        await alice.contact("bob", "Team")
        await alice.presence_to(bob.bare, "unsubscribe")
        await self.wait_for(lambda: alice.items[bob.bare].subscription == "from", "alice is unsubscribed")
        await alice.fence()
        self.assertEqual(alice.items[bob.bare].subscription, "from")
        await alice.logout()
        await alice.login()
        self.assert_contact(alice, "bob", "Team")

    async def test_a_removed_contact_is_back_after_a_kill(self):
        alice = await self.online("alice")
        await self.group("Team", "alice", "bob")
        await alice.contact("bob", "Team")
        await self.stored_complete(["alice", "bob"], "Team")
        await alice.edit(jid("bob"), subscription="remove")
        await alice.gone(jid("bob"))
        self.server.kill()
        alice.drop()
        await self.server.start()
        await alice.login()
        self.assert_contact(alice, "bob", "Team")

    async def test_what_a_user_makes_of_a_contact_stays(self):
        alice = await self.online("alice")
        await self.group("Team", "alice", "bob")
        await alice.contact("bob", "Team")
        await alice.edit(jid("bob"), name="Bobby", groups=("Team", "Friends"))
        await self.wait_for(lambda: alice.items[jid("bob")].name == "Bobby", "alice has renamed bob")
        await self.group("Choir", "alice", "bob")
        await alice.contact("bob", "Choir")
        await alice.logout()
        await alice.login()
        self.assert_contact(alice, "bob", "Team", "Friends", "Choir", name="Bobby")
