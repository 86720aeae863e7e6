"""A client that remembers its contact list and the list's version never misses a contact.

The server answers a request that names the present version without items. So whenever that happens, the list that the
client remembers has to be the complete one: across devices that were offline, logouts and kills.
"""

from harness import settings
from harness.case import ServerCase, jid
from harness.waiting import wait_until


class RosterVersions(ServerCase):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.accounts("alice", "bob", "carol", "dave")

    async def crash(self, *devices):
        self.server.kill()
        for device in devices:
            device.drop()
        await self.server.start()

    def assert_list(self, device, *users):
        self.assertEqual(
            sorted(device.items),
            sorted(map(jid, users)),
            f"{device}, answered {'short' if device.short_answer else 'with items'}, version {device.version}",
        )

    async def test_the_short_answer_is_given_to_a_client_that_got_the_push_also_after_a_restart(self):
        alice = await self.online("alice")
        await self.group("Team", "alice", "bob")
        await alice.contact("bob", "Team")
        await self.stored_complete(["alice", "bob"], "Team")
        await alice.logout()
        await alice.login()
        self.assertTrue(alice.short_answer, "nothing has changed since the push")
        self.assert_list(alice, "bob")
        await self.server.restart()
        alice.drop()
        await alice.login()
        self.assertTrue(alice.short_answer, "nothing has changed since the restart either")
        self.assert_list(alice, "bob")

    async def test_a_device_offline_during_a_push_has_the_contact_at_its_next_login(self):
        phone, desk = await self.online("alice", "phone"), await self.online("alice", "desk")
        await desk.logout()
        group = await self.group("Team", "alice", "bob")
        await phone.contact("bob", "Team")
        await desk.login()
        self.assert_list(desk, "bob")
        await desk.logout()
        await self.server.groups("add_member", group, "carol")
        await phone.contact("carol", "Team")
        await self.stored_complete(["alice", "bob", "carol"], "Team")
        await desk.login()
        self.assert_list(desk, "bob", "carol")

    async def test_a_client_that_knows_the_empty_list_gets_its_first_contact_after_a_kill(self):
        alice = await self.online("alice")
        await alice.logout()
        await self.group("Team", "alice", "bob")
        await self.crash()
        await alice.login()
        self.assert_list(alice, "bob")

    async def test_a_kill_right_after_a_push_loses_no_contact(self):
        phone, desk = await self.online("alice", "phone"), await self.online("alice", "desk")
        await desk.logout()
        await self.group("Team", "alice", "bob")
        await phone.contact("bob")
        await self.crash(phone)
        await phone.login()
        self.assert_list(phone, "bob")
        await desk.login()
        self.assert_list(desk, "bob")
        await self.stored_complete(["alice", "bob"], "Team")

    async def test_a_version_pushed_before_a_logout_does_not_stand_for_a_later_list(self):
        alice = await self.online("alice")
        group = await self.group("Team", "alice", "bob")
        await alice.contact("bob", "Team")
        await alice.logout()
        await self.server.groups("add_member", group, "carol")
        await self.crash()
        await self.server.groups("add_member", group, "dave")
        await alice.login()
        self.assert_list(alice, "bob", "carol", "dave")

    async def test_versions_pushed_before_a_logout_are_not_taken_again(self):
        alice = await self.online("alice")
        others = [f"user{number}" for number in range(8)]
        await self.accounts(*others)
        group = await self.group("Team", "alice")
        add_all = "for _, user in ipairs(users) do groups.add_member(id, user); end"
        await self.server.run(add_all, id=group, users=others[:4])
        for user in others[:4]:
            await alice.contact(user, "Team")
        await alice.logout()
        for number in range(4, 8):
            await self.server.groups("add_member", group, others[number])
            await self.stored_complete(["alice", *others[: number + 1]], "Team")
            stored = (await self.stored("alice"))["version"]
            self.assertNotEqual(stored, alice.version, f"the version that was pushed with {len(alice.items)} contacts")
        await alice.login()
        self.assert_list(alice, *others)

    async def test_versions_stay_apart_when_a_kill_follows_a_kill(self):
        alice = await self.online("alice")
        group = await self.group("Team", "alice", "bob")
        await alice.contact("bob", "Team")
        await self.crash(alice)
        await self.server.groups("add_member", group, "carol")
        await self.crash()
        await self.server.groups("add_member", group, "dave")
        await alice.login()
        self.assert_list(alice, "bob", "carol", "dave")

    async def test_an_edit_by_the_client_before_a_kill_hides_no_contact(self):
        phone, desk = await self.online("alice", "phone"), await self.online("alice", "desk")
        await phone.edit("zed@elsewhere.example", name="Zed")
        await desk.fence()
        await desk.logout()
        await self.group("Team", "alice", "bob")
        await phone.contact("bob")
        await phone.edit("zed@elsewhere.example", name="Zoe")
        await self.wait_for(lambda: phone.items["zed@elsewhere.example"].name == "Zoe", "the edit is done")
        await self.crash(phone)
        for device in (phone, desk):
            await device.login()
            self.assertEqual(sorted(device.items), [jid("bob"), "zed@elsewhere.example"], str(device))
            self.assertEqual(device.items["zed@elsewhere.example"].name, "Zoe")

    async def test_a_contact_lost_with_its_account_is_gone_for_a_device_that_was_offline(self):
        phone, desk = await self.online("alice", "phone"), await self.online("alice", "desk")
        await self.group("Team", "alice", "bob", "carol")
        for device in (phone, desk):
            await device.contact("carol", "Team")
        await desk.logout()
        await self.delete_account("bob")
        await phone.gone(jid("bob"))
        await self.crash(phone)
        for device in (phone, desk):
            await device.login()
            self.assert_list(device, "carol")


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


class RosterVersionsOnSqlite(RosterVersions):
    storage = "sql"


class RandomHistories(ServerCase):
    """Two devices of one user through a random history; at every login the list must be the server's, and complete."""

    STEPS = 60
    OWN = "zed@elsewhere.example"

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.random = settings.seeded("a random history")
        self.others = [f"user{number:02d}" for number in range(self.STEPS)]
        await self.accounts("alice", *self.others)
        self.phone, self.desk = self.device("alice", "phone"), self.device("alice", "desk")
        self.members = set()
        self.history = []
        self.label = "Team"
        self.group_id = await self.group(self.label, "alice")

    async def check(self, device):
        """The device's list is complete at the answer to its login, and the one that the server has."""
        missing = {jid(user) for user in self.members} - set(device.items)
        self.assertEqual(missing, set(), self.told(device))
        wrong = {contact for contact in map(jid, self.members) if device.items[contact].subscription != "both"}
        self.assertEqual(wrong, set(), self.told(device))

        async def same():
            await device.fence()
            live = await self.server.run('return inside.live("alice")')
            return {
                contact: (item["subscription"], item.get("name"), frozenset(item["groups"]))
                for contact, item in dict(live["items"]).items()
            } == {contact: (item.subscription, item.name, item.groups) for contact, item in device.items.items()}

        await wait_until(same, lambda: f"the server's list is {self.told(device)}", timeout=5)

    def told(self, device):
        answer = "short" if device.short_answer else "with items"
        return f"{device}, answered {answer}, version {device.version}, after {' / '.join(self.history[-12:])}"

    async def step_add(self):
        user = self.others.pop()
        await self.server.groups("add_member", self.group_id, user)
        self.members.add(user)

    async def step_switch(self):
        """A device comes or goes."""
        device = self.random.choice((self.phone, self.desk))
        if device.xmpp:
            await device.logout()
        else:
            await device.login()
            await self.check(device)

    async def step_kill(self):
        self.server.kill()
        self.phone.drop()
        self.desk.drop()
        await self.server.start()

    async def step_add_and_kill(self):
        """The kill comes as soon as the contact is on a device's screen; or at once, when none is online."""
        user = self.others[-1]
        await self.step_add()
        online = [device for device in (self.phone, self.desk) if device.xmpp]
        if online:
            await self.random.choice(online).contact(user)
        await self.step_kill()

    async def step_edit(self):
        online = [device for device in (self.phone, self.desk) if device.xmpp]
        # Not in an empty list: Prosody itself serves that as version 1, and also the list with its first contact.
        if online and self.members:
            await online[0].edit(self.OWN, name=f"Zed {len(self.history)}")

    async def step_remove_contact(self):
        """The user removes a contact and leaves, so that it is due again at the next login. Returns who it was."""
        online = [device for device in (self.phone, self.desk) if device.xmpp]
        if not online or not self.members:
            return None
        user = self.random.choice(sorted(self.members))
        removed = jid(user) in online[0].items
        if removed:
            await online[0].edit(jid(user), subscription="remove")
        for device in online:
            await device.logout()
        return user if removed else None

    def steps(self):
        """What may happen, and how often."""
        return {
            self.step_switch: 8,
            self.step_add: 5,
            self.step_add_and_kill: 3,
            self.step_edit: 2,
            self.step_kill: 1,
            self.step_remove_contact: 1,
        }

    async def run_history(self):
        steps = self.steps()
        for _ in range(self.STEPS):
            (step,) = self.random.choices(list(steps), weights=list(steps.values()))
            self.history.append(step.__name__.removeprefix("step_"))
            await step()
        for device in (self.phone, self.desk):
            if not device.xmpp:
                await device.login()
            await device.fence()
            await self.check(device)
        await self.stored_complete(["alice", *sorted(self.members)], self.label)

    async def test_a_client_with_roster_versions_never_misses_a_contact_in_a_random_history(self):
        await self.run_history()


class RandomHistoriesOnSqlite(RandomHistories):
    storage = "sql"


class RandomLives(RandomHistories):
    """The same with members who leave, names that change, and contacts that the user puts into a group."""

    options = {"groups_remove_contacts": True}
    test_a_client_with_roster_versions_never_misses_a_contact_in_a_random_history = None

    async def asyncSetUp(self):
        await super().asyncSetUp()
        #: Contacts that the user has put into a group: they outlive membership.
        self.kept = set()

    def steps(self):
        more = {self.step_leave: 3, self.step_rename: 2, self.step_keep: 2, self.step_leave_and_kill: 1}
        return super().steps() | more

    def wanted(self):
        """The list of Alice as it should be: contact -> subscription and groups."""
        wanted = {jid(user): ("none", frozenset(["Friends"])) for user in self.kept}
        for user in self.members:
            wanted[jid(user)] = ("both", frozenset([self.label] + ["Friends"] * (user in self.kept)))
        return wanted

    async def check(self, device):
        self.assertEqual(self.shown(device), self.wanted(), self.told(device))
        await super().check(device)

    def shown(self, device):
        items = {contact: (item.subscription, item.groups) for contact, item in device.items.items()}
        items.pop(self.OWN, None)
        return items

    async def seen_right(self, device):
        """Waits until a device that is online has the list as it should be."""
        await wait_until(
            lambda: self.shown(device) == self.wanted(),
            lambda: f"{self.wanted()}: {self.told(device)}: {device.items}",
        )

    async def step_leave(self):
        if self.members:
            user = self.random.choice(sorted(self.members))
            await self.server.groups("remove_member", self.group_id, user)
            self.members.discard(user)
            self.others.insert(0, user)

    async def step_leave_and_kill(self):
        await self.step_leave()
        await self.step_kill()

    async def step_rename(self):
        self.label = f"Team {len(self.history)}"
        await self.server.groups("set_info", self.group_id, {"name": self.label})

    async def step_keep(self):
        online = [device for device in (self.phone, self.desk) if device.xmpp]
        if online and self.members:
            user = self.random.choice(sorted(self.members))
            await self.seen_right(online[0])
            await online[0].edit(jid(user), groups=(self.label, "Friends"))
            self.kept.add(user)
            await self.seen_right(online[0])

    async def step_remove_contact(self):
        """The one that comes back is the group's and nobody else's."""
        self.kept.discard(await super().step_remove_contact())

    async def test_a_client_with_roster_versions_has_the_right_list_through_joins_leaves_renames_and_edits(self):
        await self.run_history()


class RandomLivesOnSqlite(RandomLives):
    storage = "sql"
