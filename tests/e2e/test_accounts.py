"""An account is deleted: nobody keeps it, nowhere."""

from harness.case import ServerCase, jid
from harness.waiting import wait_until


class DeletedAccounts(ServerCase):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.accounts("alice", "bob", "carol")
        self.group_id = await self.group("Team", "alice", "bob", "carol", chat=True)

    async def no_ghost_in_storage(self, *users):
        """Waits until bob is in none of the stored rosters of these users, and in nothing else either."""

        async def clean():
            rosters = [await self.stored(user) for user in users]
            return all(jid("bob") not in roster["items"] and not roster["pending"] for roster in rosters)

        await wait_until(clean, "bob is in no stored roster")
        self.assertEqual(sorted(await self.server.groups("get_members", self.group_id)), ["alice", "carol"])
        self.assertFalse(await self.server.groups("get_user_groups", "bob"))
        room = (await self.server.groups("get_info", self.group_id))["muc_jid"]
        affiliation = await self.server.run(
            "return prosody.hosts[chats].modules.muc.get_room_from_jid(room):get_affiliation(user)",
            chats="groups.localhost",
            room=room,
            user=jid("bob"),
        )
        self.assertIn(affiliation, (None, "none"))

    async def test_the_others_lose_a_deleted_contact_at_once_and_see_it_go(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        await alice.sees(bob)
        await self.stored_complete(["alice", "bob", "carol"], "Team")
        alice.pushes.clear()
        alice.presences.clear()
        await self.delete_account("bob")
        await alice.gone(jid("bob"))
        await alice.unseen(bob)
        await self.no_ghost_in_storage("alice", "carol")
        await alice.fence()
        pushes = [(push.jid, push.item.subscription) for push in alice.pushes]
        self.assertEqual(pushes[-1], (jid("bob"), "remove"))
        self.assertEqual({contact for contact, _ in pushes}, {jid("bob")})
        asked = [p for p in alice.presences if p.type in ("subscribe", "unsubscribe", "unsubscribed")]
        self.assertEqual(asked, [], "a deleted account asks for nothing")
        self.assert_contact(alice, "carol", "Team")

        carol = await self.online("carol")
        self.assertEqual(sorted(carol.items), [jid("alice")])

    async def test_an_account_deleted_while_offline_goes_from_all_lists_too(self):
        alice = await self.online("alice")
        await alice.contact("bob")
        await self.stored_complete(["alice", "bob", "carol"], "Team")
        await self.delete_account("bob")
        await alice.gone(jid("bob"))
        await self.no_ghost_in_storage("alice", "carol")

    async def test_an_account_deleted_before_its_contacts_were_stored_leaves_no_ghost(self):
        alice = await self.online("alice")
        await alice.contact("bob")
        await self.delete_account("bob")
        await alice.gone(jid("bob"))
        await self.stored_complete(["alice", "carol"], "Team")
        await self.no_ghost_in_storage("alice", "carol")
        await self.server.restart()
        alice.drop()
        await alice.login()
        self.assertEqual(sorted(alice.items), [jid("carol")])

    async def test_a_deletion_cut_short_by_a_kill_is_finished_after_the_restart(self):
        await self.stored_complete(["alice", "bob", "carol"], "Team")
        await self.delete_account("bob")
        self.server.kill()
        await self.server.start()
        await self.no_ghost_in_storage("alice", "carol")
        alice = await self.online("alice")
        self.assertEqual(sorted(alice.items), [jid("carol")])

    async def test_a_new_account_of_the_same_name_starts_with_nothing(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        await alice.sees(bob)
        await self.delete_account("bob")
        await alice.gone(jid("bob"))
        bob.drop()
        await self.accounts("bob")
        heir = await self.online("bob", "tablet")
        self.assertEqual(heir.items, {})
        self.assertEqual(heir.seen - {heir.full}, set())
        await alice.fence()
        self.assertNotIn(heir.full, alice.seen)
        self.assertNotIn(jid("bob"), alice.items)

        await self.server.groups("add_member", self.group_id, "bob")
        await alice.contact("bob", "Team")
        await heir.contact("alice", "Team")
        await alice.sees(heir)
        await heir.sees(alice)
        await self.stored_complete(["alice", "bob", "carol"], "Team")


class DeletedAccountsOnSqlite(DeletedAccounts):
    storage = "sql"
