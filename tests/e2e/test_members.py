"""Three users, one of them offline: what each sees when they become members of a group, and when they cease to be."""

from harness.case import ServerCase, jid


class Members(ServerCase):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.accounts("alice", "bob", "carol", "mallory")

    async def room_of(self, group):
        return (await self.server.groups("get_info", group))["muc_jid"]

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

        carol = self.device("carol")
        await carol.login()
        self.assertEqual(sorted(carol.items), [jid("alice"), jid("bob")])
        self.assert_contact(carol, "alice", "Team")
        self.assert_contact(carol, "bob", "Team")
        self.assertEqual(carol.seen - {carol.full}, {alice.full, bob.full})
        await alice.sees(carol)
        await bob.sees(carol)

    async def test_an_offline_member_logs_in_complete_before_anything_was_stored(self):
        alice = await self.online("alice")
        await self.group("Team", "alice", "bob", "carol")
        carol = await self.online("carol")
        self.assertEqual(sorted(carol.items), [jid("alice"), jid("bob")])
        await carol.sees(alice)
        await alice.sees(carol)

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

    async def test_a_member_who_leaves_the_server_is_seen_to_go_by_the_others(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        await self.group("Team", "alice", "bob")
        await alice.sees(bob)
        await bob.logout()
        await alice.unseen(bob)

    async def test_members_are_invited_to_the_chat_and_enter_it_and_nobody_else_does(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        group = await self.group("Team", "alice", "bob", "carol", chat=True)
        room = await self.room_of(group)
        carol, mallory = await self.online("carol"), await self.online("mallory")
        for device in (alice, bob, carol):
            await device.fence()
            self.assertEqual([tuple(invite) for invite in device.invites], [(room, room)], str(device))
            self.assertEqual(await device.join(room), "joined")
        self.assertEqual(await mallory.join(room), "registration-required")
        self.assertEqual(mallory.invites, [])
        alice.say(room, "hello")
        for device in (bob, carol):
            await device.fence()
            await self.wait_for(lambda d=device: (f"{room}/alice", "hello") in d.texts, f"{device} hears alice")

    async def test_a_later_chat_invites_all_members_and_lets_them_in(self):
        alice = await self.online("alice")
        group = await self.group("Team", "alice", "bob", chat=True)
        chat = await self.server.groups("add_group_chat", group, "Second")
        bob, mallory = await self.online("bob"), await self.online("mallory")
        for device in (alice, bob):
            await device.fence()
            self.assertIn((chat["jid"], chat["jid"]), [tuple(invite) for invite in device.invites])
            self.assertEqual(await device.join(chat["jid"]), "joined")
        self.assertEqual(await mallory.join(chat["jid"]), "registration-required")

    async def test_a_removed_member_is_out_of_the_chat_and_stays_a_contact(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        group = await self.group("Team", "alice", "bob", chat=True)
        room = await self.room_of(group)
        self.assertEqual([await alice.join(room), await bob.join(room)], ["joined", "joined"])
        await alice.contact("bob")
        await bob.contact("alice")
        alice.pushes.clear()
        bob.pushes.clear()

        await self.server.groups("remove_member", group, "bob")
        await self.wait_for(
            lambda: any(p.sender == f"{room}/bob" and p.type == "unavailable" for p in bob.presences),
            "bob is put out of the room",
        )
        self.assertEqual(await bob.join(room), "registration-required")
        self.assertEqual(await alice.join(room), "joined")
        await self.server.groups("sync", group)
        await alice.fence()
        await bob.fence()
        self.assertEqual(alice.pushes + bob.pushes, [], "contacts are permanent")
        await self.stored_complete(["alice", "bob"], "Team")
        await alice.sees(bob)
        await self.server.restart()
        for device, other in ((alice, "bob"), (bob, "alice")):
            device.drop()
            await device.login()
            self.assert_contact(device, other, "Team")

    async def test_adding_a_member_again_pushes_nothing(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        group = await self.group("Team", "alice", "bob")
        await self.stored_complete(["alice", "bob"], "Team")
        alice.pushes.clear()
        bob.pushes.clear()
        await self.server.groups("add_member", group, "bob")
        await self.server.groups("add_member", group, "alice")
        await self.server.groups("sync", group)
        await self.server.groups("add_member", group, "carol")
        for device in (alice, bob):
            await device.contact("carol", "Team")
        await self.stored_complete(["alice", "bob", "carol"], "Team")
        for device in (alice, bob):
            await device.fence()
            self.assertEqual([push.jid for push in device.pushes], [jid("carol")], str(device))

    async def test_a_delayed_add_waits_for_sync(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        group = await self.group("Team")
        for member in ("alice", "bob", "carol"):
            await self.server.groups("add_member", group, member, True)
        for device in (alice, bob):
            await device.fence()
            self.assertEqual(device.pushes, [])
        await self.server.groups("sync", group)
        for device, others in ((alice, ("bob", "carol")), (bob, ("alice", "carol"))):
            for other in others:
                await device.contact(other, "Team")
        await alice.sees(bob)
        await bob.sees(alice)
        await self.stored_complete(["alice", "bob", "carol"], "Team")

    async def test_members_of_two_groups_carry_both_labels(self):
        alice = await self.online("alice")
        await self.group("Team", "alice", "bob")
        await self.group("Choir", "alice", "bob", "carol")
        await alice.contact("bob", "Team", "Choir")
        await alice.contact("carol", "Choir")
        self.assert_contact(alice, "bob", "Team", "Choir")
        self.assert_contact(alice, "carol", "Choir")
        await self.stored_complete(["alice", "bob"], "Team", "Choir")
        await self.stored_complete(["alice", "bob", "carol"], "Choir")

    async def test_a_member_without_an_account_is_nobodys_contact_until_its_first_login(self):
        alice = await self.online("alice")
        await self.group("Team", "alice", "dave", "bob")
        await alice.contact("bob", "Team")
        await self.stored_complete(["alice", "bob"], "Team")
        await alice.fence()
        self.assertEqual(sorted(alice.items), [jid("bob")])
        self.assertEqual(sorted((await self.stored("bob"))["items"]), [jid("alice")])

        await self.accounts("dave")
        dave = await self.online("dave")
        for other in ("alice", "bob"):
            await dave.contact(other, "Team")
        await alice.contact("dave", "Team")
        await alice.sees(dave)
        await dave.sees(alice)
        await self.stored_complete(["alice", "bob", "dave"], "Team")

    async def test_an_ordinary_stop_right_after_an_add_leaves_the_lists_of_those_online_in_storage(self):
        await self.online("alice")
        await self.online("bob")
        await self.group("Team", "alice", "bob", "carol")
        await self.server.stop()
        modules, self.server.modules = self.server.modules, []
        await self.server.start()
        for user, others in (("alice", ("bob", "carol")), ("bob", ("alice", "carol"))):
            roster = await self.stored(user)
            self.assertEqual(
                {contact: item["subscription"] for contact, item in roster["items"].items()},
                {jid(other): "both" for other in others},
                f"stored roster of {user}",
            )
        self.server.modules = modules
        await self.server.restart()
        await self.stored_complete(["alice", "bob", "carol"], "Team")


class MembersOnSqlite(Members):
    storage = "sql"
