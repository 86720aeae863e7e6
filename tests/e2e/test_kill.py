"""kill -9 at random moments while contact lists are being changed, again and again in one folder."""

import asyncio
import sys

from harness import settings
from harness.case import ServerCase
from harness.waiting import wait_until


class Kills(ServerCase):
    """One folder whose server is killed at random moments; a subclass says what is wrong with stored rosters."""

    purpose = "the kills"

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.random = settings.seeded(self.purpose)
        self.users = [f"user{number:03d}" for number in range(self.USERS)]
        await self.accounts(*self.users)

    async def wrong(self, users):
        """Those of the users whose stored rosters are not as they should be: user -> what is wrong."""
        raise NotImplementedError

    async def wait_right(self):
        """Polls the stored rosters, a few at a time so that the server gets on, until each has been seen right."""
        open_users, last = list(self.users), {}

        async def step():
            last["wrong"] = await self.wrong(open_users[:10])
            open_users[:10] = []
            open_users.extend(sorted(last["wrong"]))
            return not open_users

        await wait_until(step, lambda: f"{len(open_users)} stored rosters right; {last}", timeout=60)
        self.assertEqual(await self.wrong(self.users), {}, "right once, right for good")

    async def wrong_in_storage(self, number):
        """How many rosters are wrong as the kill left them: a server without the module looks."""
        modules, self.server.modules = self.server.modules, []
        await self.server.start()
        wrong = len(await self.wrong(self.users))
        await self.server.stop()
        self.server.modules = modules
        print(f"      kill {number}: {wrong} of {self.USERS} rosters were open", file=sys.stderr)
        return wrong


class KillsInTheMiddleOfSyncs(Kills):
    USERS = 200
    ROUNDS = 10

    async def wrong(self, users):
        """All users are members of all groups."""
        values = {"users": users, "all": self.users, "labels": self.labels}
        return dict(await self.server.run("return inside.lacking(users, all, labels, #users)", **values))

    async def new_group(self, number):
        label = f"Round {number}"
        group = await self.server.run(
            """
            local group = assert(groups.create({ name = label }));
            for _, user in ipairs(users) do assert(groups.add_member(group, user, true)); end
            return group;
            """,
            label=label,
            users=self.users,
        )
        self.labels.append(label)
        return group

    async def test_after_every_kill_in_the_middle_of_a_sync_all_contact_lists_end_complete_in_storage(self):
        loop = asyncio.get_running_loop()
        self.labels = []
        group = await self.new_group(0)
        start = loop.time()
        await self.server.groups("sync", group)
        await self.wait_right()
        duration = loop.time() - start
        interrupted = 0
        for number in range(1, self.ROUNDS + 1):
            await self.server.groups("sync", await self.new_group(number))
            await asyncio.sleep(self.random.uniform(0, duration * 0.9))
            self.server.kill()
            interrupted += await self.wrong_in_storage(number) > 0
            await self.server.start()
            await self.wait_right()
        self.assertGreaterEqual(interrupted, self.ROUNDS // 2, "kills that came while rosters were open")
        await self.check_nothing_else()

    async def check_nothing_else(self):
        """Every roster has exactly the other members, with exactly the labels of all rounds."""
        odd = await self.server.run(
            """
            for _, user in ipairs(users) do
                local count = 0;
                for jid, item in pairs(inside.stored(user).items) do
                    count = count + 1;
                    if #item.groups ~= labels then return user..": "..jid.." has "..#item.groups.." labels"; end
                end
                if count ~= #users - 1 then return user.." has "..count.." contacts"; end
            end
            """,
            users=self.users,
            labels=len(self.labels),
        )
        self.assertIsNone(odd)


class KillsInTheMiddleOfSyncsOnSqlite(KillsInTheMiddleOfSyncs):
    storage = "sql"
    ROUNDS = 3


class KillsWhileAdding(ServerCase):
    """The caller is killed along with the server: what is in the group is what counts."""

    ROUNDS = 5

    async def test_a_kill_in_the_middle_of_adding_leaves_group_and_contact_lists_in_step(self):
        rng = settings.seeded("the kills while adding")
        users = [f"user{number:02d}" for number in range(60)]
        await self.accounts(*users)
        for number in range(self.ROUNDS):
            group = await self.server.groups("create", {"name": f"Round {number}"})
            adding = asyncio.ensure_future(self.add_all(group, rng.sample(users, len(users))))
            await asyncio.sleep(rng.uniform(0, 0.3))
            self.server.kill()
            await asyncio.gather(adding, return_exceptions=True)
            await self.server.start()
            members = sorted(await self.server.groups("get_members", group) or {})
            self.assertTrue(set(members) >= set(self.added), "what was answered with success is stored")
            await self.stored_complete(members, f"Round {number}")

    async def add_all(self, group, users):
        self.added = []
        for user in users:
            await self.server.groups("add_member", group, user)
            self.added.append(user)


# What is wrong with a stored roster. The stored group decides: members have each other under its name and no other
# label. Nobody has anybody else. Each user knew one other user before, and a friend elsewhere: these contacts stay.
WRONG = """
    local members = module:open_store("groups"):get(id) or {};
    local label = module:open_store("group_info"):get(id).name;
    local function wanted(user, other)
        local shared = members[user] and members[other];
        if shared or partners[user] == other then return "both "..(shared and label or ""); end
    end
    local function wrong(user)
        local items = inside.stored(user).items;
        local own = items["friend@elsewhere.example"];
        if not own or own.name ~= "Friend of "..user or own.groups[1] ~= "Friends" or own.groups[2] then
            return "no own friend";
        end
        items["friend@elsewhere.example"] = nil;
        for _, other in ipairs(all) do
            local jid, should = other.."@"..module.host, other ~= user and wanted(user, other) or nil;
            local item = items[jid];
            local is = item and item.subscription.." "..table.concat(item.groups, ",") or nil;
            if is ~= should then return jid.." is "..tostring(is)..", should be "..tostring(should); end
            items[jid] = nil;
        end
        if next(items) then return "has "..next(items); end
    end
    local found = {};
    for _, user in ipairs(users) do found[user] = wrong(user); end
    return found;
"""


class KillsInTheMiddleOfChanges(Kills):
    """The members have contacts of their own, too, and the group takes back what it has brought."""

    USERS = 100
    LEAVERS = 15
    ROUNDS = 5
    options = {"groups_remove_contacts": True}
    purpose = "the kills in the middle of changes"

    async def asyncSetUp(self):
        await super().asyncSetUp()
        pairs = list(zip(self.users[::2], self.users[1::2]))
        self.partners = dict(pairs + [(other, one) for one, other in pairs])
        self.group_id = await self.server.run(
            """
            local rostermanager = require "core.rostermanager";
            for _, user in ipairs(users) do
                local roster = rostermanager.load_roster(user, module.host);
                roster["friend@elsewhere.example"] =
                    { subscription = "both", name = "Friend of "..user, groups = { Friends = true } };
                roster[partners[user].."@"..module.host] = { subscription = "both", groups = {} };
                assert(rostermanager.save_roster(user, module.host, roster));
            end
            local id = assert(groups.create({ name = "Name 0" }));
            for _, user in ipairs(users) do assert(groups.add_member(id, user, true)); end
            groups.sync(id);
            return id;
            """,
            users=self.users,
            partners=self.partners,
        )
        await self.wait_right()

    async def wrong(self, users):
        """Those of the users whose stored rosters are not what they should be: user -> what."""
        values = {"users": users, "all": self.users, "partners": self.partners, "id": self.group_id}
        return dict(await self.server.run(WRONG, **values))

    async def kill_within(self, duration, change):
        """Kills the server at a random moment of a change."""
        changing = asyncio.ensure_future(change())
        await asyncio.sleep(self.random.uniform(0, duration * 0.4))
        self.server.kill()
        await asyncio.gather(changing, return_exceptions=True)

    async def kill_again_and_again(self, prepare, change, check):
        """Runs the change once to its end, which says how long it takes. Then kills in the middle of it."""
        loop = asyncio.get_running_loop()
        interrupted, duration = 0, 0.0
        for number in range(self.ROUNDS + 1):
            await prepare(number)
            start = loop.time()
            if number == 0:
                await change()
            else:
                await self.kill_within(duration, change)
                interrupted += await self.wrong_in_storage(number) > 0
                await self.server.start()
            await self.wait_right()
            await check()
            duration = duration or loop.time() - start
        self.assertGreater(interrupted, 0, "kills that came while rosters were open")

    async def test_after_every_kill_in_the_middle_of_renames_the_newest_name_is_the_only_label(self):
        self.named = "Name 0"

        async def prepare(number):
            self.names = [f"Name {number}.{step}" for step in range(3)]

        async def change():
            for name in self.names:
                self.begun = name
                await self.server.groups("set_info", self.group_id, {"name": name})
                self.named = name
                await asyncio.sleep(self.random.uniform(0, 0.1))

        async def check():
            name = (await self.server.groups("get_info", self.group_id))["name"]
            self.assertIn(name, (self.named, self.begun), "what was answered with success is stored")

        await self.kill_again_and_again(prepare, change, check)

    async def test_after_every_kill_in_the_middle_of_removals_nobody_has_who_left_and_everybody_what_was_theirs(self):
        async def prepare(_):
            members = await self.server.groups("get_members", self.group_id)
            for user in sorted(set(self.users) - set(members)):
                await self.server.groups("add_member", self.group_id, user)
            await self.wait_right()
            self.leavers = self.random.sample(self.users, self.LEAVERS)
            self.removed = []

        async def change():
            for user in self.leavers:
                await self.server.groups("remove_member", self.group_id, user)
                self.removed.append(user)

        async def check():
            members = set(await self.server.groups("get_members", self.group_id))
            self.assertEqual(members & set(self.removed), set(), "what was answered with success is stored")
            self.assertGreaterEqual(members, set(self.users) - set(self.leavers))

        await self.kill_again_and_again(prepare, change, check)


class KillsInTheMiddleOfChangesOnSqlite(KillsInTheMiddleOfChanges):
    storage = "sql"
    USERS = 60
    ROUNDS = 3
