"""The base of the tests: each has a fresh server, and devices that are gone when it ends."""

import asyncio
import re
import unittest

from . import settings
from .client import Device
from .server import Server
from .waiting import TIMEOUT, wait_until


def jid(user):
    return f"{user}@{settings.HOST}"


class ServerCase(unittest.IsolatedAsyncioTestCase):
    """A test with a running Prosody; `storage` and `options` may be set by the class."""

    storage = "internal"
    #: Options of the host in Prosody's configuration.
    options = {}
    #: Whether an error in the log at the end fails the test.
    clean_log = True

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)
        name = re.sub(r"\W+", "-", f"{type(self).__name__}-{self._testMethodName}")[:120]
        self.server = Server(settings.SCRATCH / settings.version / name, storage=self.storage, options=self.options)
        self.devices = []
        self.addAsyncCleanup(self._stop)
        await self.server.start()

    async def _stop(self):
        for device in self.devices:
            device.drop()
        await self._wait_for_empty_server()
        await self.server.stop()
        # slixmpp leaves a task behind for every connection.
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.clean_log:
            self.assertEqual(self.server.complaints(), [], "Prosody's log has errors")

    async def _wait_for_empty_server(self):
        """Waits for the sessions to end: 0.12 does not survive a signal that comes while one ends."""
        if self.server.is_running():
            nobody = "return next(prosody.full_sessions) == nil"
            await wait_until(lambda: self.server.run(nobody), "all sessions ended")

    def device(self, user, resource="phone"):
        device = Device(self.server, user, resource)
        self.devices.append(device)
        return device

    async def online(self, user, resource="phone"):
        """Returns a new device of this user, logged in and available."""
        device = self.device(user, resource)
        await device.login()
        return device

    async def accounts(self, *users):
        await self.server.run(
            """
            local create_user = require "core.usermanager".create_user;
            for _, user in ipairs(users) do assert(create_user(user, password, module.host)); end
            """,
            users=users,
            password=settings.PASSWORD,
        )

    async def delete_account(self, user):
        await self.server.run('assert(require "core.usermanager".delete_user(user, module.host))', user=user)

    async def group(self, name, *members, chat=False):
        """Creates a group with these members and returns its id."""
        group = await self.server.groups("create", {"name": name}, chat)
        for member in members:
            await self.server.groups("add_member", group, member)
        return group

    async def stored(self, user):
        """Returns the stored roster of this user: `items`, `pending`, `version`."""
        roster = await self.server.run("return inside.stored(user)", user=user)
        roster["items"] = dict(roster["items"] or {})
        roster["pending"] = list(roster["pending"] or [])
        return roster

    async def stored_complete(self, users, *labels, timeout=3 * TIMEOUT):
        """Waits until, in storage, each of these users has all the others, with these labels."""
        last = {}

        async def complete():
            last["lacking"] = await self.server.run(
                "return inside.lacking(users, users, labels, 5)", users=users, labels=labels
            )
            return not last["lacking"]

        await wait_until(complete, lambda: f"stored rosters complete: {last['lacking']}", timeout, step=0.05)

    async def wait_for(self, condition, what):
        await wait_until(condition, what)

    async def offline(self, user):
        """Waits until the server has no session of this user."""
        await wait_until(
            lambda: self.server.run("return prosody.bare_sessions[jid] == nil", jid=jid(user)),
            f"{user} has no session",
        )

    def assert_contact(self, device, user, *labels, name=None):
        """Fails unless the device has this user as a mutual contact with exactly these labels."""
        item = device.items.get(jid(user))
        self.assertIsNotNone(item, f"{device} lacks {user}; it has {sorted(device.items)}")
        self.assertEqual(
            (item.subscription, item.ask, item.name, item.groups), ("both", None, name, frozenset(labels)), str(device)
        )
