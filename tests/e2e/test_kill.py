"""kill -9 at random moments while the contact lists of 200 members are being settled, again and again in one folder."""

import asyncio
import sys

from harness import settings
from harness.case import ServerCase
from harness.waiting import wait_until


class Kills(ServerCase):
    USERS = 200
    ROUNDS = 10

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.random = settings.seeded("the kills")
        self.users = [f"user{number:03d}" for number in range(self.USERS)]
        await self.accounts(*self.users)
        self.labels = []

    async def lacking(self, users, limit):
        return dict(
            await self.server.run(
                "return inside.lacking(users, all, labels, limit)",
                users=users,
                all=self.users,
                labels=self.labels,
                limit=limit,
            )
        )

    async def wait_complete(self, timeout=60):
        """Polls the stored rosters, a few at a time so that the server gets on, until each has been seen complete."""
        open_users = list(self.users)
        last = {}

        async def step():
            batch = open_users[:10]
            lacking = await self.lacking(batch, 10)
            last.update(lacking=lacking)
            open_users[:10] = []
            open_users.extend(sorted(lacking))
            return not open_users

        await wait_until(step, lambda: f"{len(open_users)} stored rosters complete; {last}", timeout)
        self.assertEqual(await self.lacking(self.users, 3), {}, "complete once, complete for good")

    async def settled_count(self):
        """How many of a sample of the stored rosters have the newest label already, scaled up to all."""
        sample = self.random.sample(self.users, 10)
        return (10 - len(await self.lacking(sample, 10))) * self.USERS // 10

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

    async def sync_and_kill(self, group, duration):
        """Kills at a random moment of the settling, which takes about `duration` seconds when left alone."""
        await self.server.groups("sync", group)
        await asyncio.sleep(self.random.uniform(0, duration))
        self.server.kill()

    async def test_after_every_kill_in_the_middle_of_a_sync_all_contact_lists_end_complete_in_storage(self):
        loop = asyncio.get_running_loop()
        group = await self.new_group(0)
        start = loop.time()
        await self.server.groups("sync", group)
        await self.wait_complete()
        duration = loop.time() - start
        interrupted = 0
        for number in range(1, self.ROUNDS + 1):
            group = await self.new_group(number)
            await self.sync_and_kill(group, duration * 0.9)
            open_rosters = await self.open_in_storage()
            interrupted += open_rosters > 0
            await self.server.start()
            await self.wait_complete()
            print(f"      kill {number}: {open_rosters} of {self.USERS} rosters were open", file=sys.stderr)
        self.assertGreaterEqual(interrupted, self.ROUNDS // 2, "kills that came while rosters were open")
        await self.check_nothing_else()

    async def open_in_storage(self):
        """How many rosters lack something as the kill left them: seen by a server without the module."""
        modules, self.server.modules = self.server.modules, []
        await self.server.start()
        lacking = await self.lacking(self.users, self.USERS)
        await self.server.stop()
        self.server.modules = modules
        return len(lacking)

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


class KillsOnSqlite(Kills):
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
