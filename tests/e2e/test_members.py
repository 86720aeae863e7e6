"""What members see on the wire when they join a group, leave it, or lose their account."""

from harness.case import ServerCase, jid


class Members(ServerCase):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.accounts("alice", "bob", "carol", "mallory")

    async def test_members_online_get_pushes_and_see_each_other_and_the_offline_one_finds_all_at_login(self):
        alice, bob = await self.online("alice"), await self.online("bob", "desk")
        await self.group("Team", "alice", "bob", "carol")
        for device, other in ((alice, "bob"), (bob, "alice"), (alice, "carol"), (bob, "carol")):
            await device.contact(other)
            self.assert_contact(device, other, "Team")
        await alice.sees(bob)
        await bob.sees(alice)
        await self.stored_complete(["alice", "bob", "carol"], "Team")
        for device, others in ((alice, ("bob", "carol")), (bob, ("alice", "carol"))):
            await device.fence()
            self.assertEqual(sorted(push.jid for push in device.pushes), sorted(map(jid, others)))

        carol = await self.online("carol")
        self.assertEqual(sorted(carol.items), [jid("alice"), jid("bob")])
        self.assert_contact(carol, "alice", "Team")
        self.assert_contact(carol, "bob", "Team")
        self.assertEqual(carol.seen - {carol.full}, {alice.full, bob.full})
        await alice.sees(carol)
        await bob.logout()
        await alice.unseen(bob)

    async def test_every_available_device_of_a_member_takes_part_in_presence_and_no_other(self):
        phone, desk = await self.online("alice", "phone"), await self.online("alice", "desk")
        hidden = self.device("alice", "hidden")
        await hidden.login(available=False)
        bob = await self.online("bob")
        await self.group("Team", "alice", "bob")
        for device in (phone, desk, hidden):
            await device.contact("bob", "Team")
        for device in (phone, desk):
            await device.sees(bob)
            await bob.sees(device)
        for device in (bob, hidden):
            await device.fence()
        self.assertNotIn(hidden.full, bob.seen)
        self.assertNotIn(bob.full, hidden.seen)

    async def test_members_are_invited_to_the_chat_and_enter_it_and_nobody_else_does(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        group = await self.group("Team", "alice", "bob", "carol", chat=True)
        room = (await self.server.groups("get_info", group))["muc_jid"]
        carol, mallory = await self.online("carol"), await self.online("mallory")
        for device in (alice, bob, carol):
            await device.fence()
            self.assertEqual([tuple(invite) for invite in device.invites], [(room, room)], str(device))
            self.assertEqual(await device.join(room), "joined")
        self.assertEqual(await mallory.join(room), "registration-required")
        self.assertEqual(mallory.invites, [])
        alice.say(room, "hello")
        for device in (bob, carol):
            await self.wait_for(lambda d=device: (f"{room}/alice", "hello") in d.texts, f"{device} hears alice")

        await self.server.groups("remove_member", group, "bob")
        await self.wait_for(
            lambda: any(p.sender == f"{room}/bob" and p.type == "unavailable" for p in bob.presences),
            "bob is put out of the room",
        )
        self.assertEqual(await bob.join(room), "registration-required")

        chat = (await self.server.groups("add_group_chat", group, "Second"))["jid"]
        for device in (alice, carol):
            await self.wait_for(lambda d=device: (chat, chat) in d.invites, f"{device} is invited to the second chat")
            self.assertEqual(await device.join(chat), "joined")
        self.assertEqual(await bob.join(chat), "registration-required")

    async def test_the_others_lose_a_deleted_contact_at_once_and_see_it_go_also_before_anything_was_stored(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        await self.group("Team", "alice", "bob", "carol")
        await alice.contact("carol", "Team")
        await alice.sees(bob)
        alice.pushes.clear()
        alice.presences.clear()
        await self.delete_account("bob")
        await alice.gone(jid("bob"))
        await alice.unseen(bob)
        await self.stored_complete(["alice", "carol"], "Team")
        await alice.fence()
        pushes = [(push.jid, push.item.subscription) for push in alice.pushes]
        self.assertEqual(pushes[-1], (jid("bob"), "remove"))
        self.assertEqual({contact for contact, _ in pushes}, {jid("bob")})
        asked = [p for p in alice.presences if p.type in ("subscribe", "unsubscribe", "unsubscribed")]
        self.assertEqual(asked, [], "a deleted account asks for nothing")
        for user, other in (("alice", "carol"), ("carol", "alice")):
            roster = await self.stored(user)
            self.assertEqual((list(roster["items"]), roster["pending"]), ([jid(other)], []), user)


class OwnContacts(ServerCase):
    """Contacts that asked for each other before they became members, and one that its user removes."""

    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.accounts("alice", "bob")

    async def check_asked(self, *offline):
        """Alice asks Bob for a subscription. Both become members, these users offline: then nobody is asked again."""
        pair = [await self.online("alice"), await self.online("bob")]
        alice, bob = pair
        await alice.presence_to(bob.bare, "subscribe")
        await self.wait_for(lambda: any(p.type == "subscribe" for p in bob.presences), "bob is asked")
        for device in pair:
            if device.user in offline:
                await device.logout()
        await self.group("Team", "alice", "bob")
        for device, other in zip(pair, ("bob", "alice")):
            if device.user not in offline:
                await device.contact(other, "Team")
                await device.logout()
        await self.stored_complete(["alice", "bob"], "Team")
        for device in pair:
            await device.login()
        for device, other in ((alice, bob), (bob, alice)):
            await device.sees(other)
            await device.fence()
            asked = [p for p in device.presences if p.type == "subscribe"]
            self.assertEqual(asked, [], f"{device} is asked at login")
            self.assert_contact(device, other.user, "Team")

    async def test_an_asked_and_pending_subscription_ends_clean_with_both_online(self):
        await self.check_asked()

    async def test_an_asked_and_pending_subscription_ends_clean_with_both_offline(self):
        await self.check_asked("alice", "bob")

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
