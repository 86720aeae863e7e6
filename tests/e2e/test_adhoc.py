"""Groups managed from an XMPP client, by ad-hoc commands."""

from slixmpp.exceptions import IqError

from harness import settings
from harness.case import ServerCase, jid


class AdHoc(ServerCase):
    options = {"groups_adhoc": True, "admins": [jid("alice")]}

    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.accounts("alice", "bob", "carol")

    def commands(self, device):
        """Returns slixmpp's side of ad-hoc commands, for a device that is logged in."""
        device.xmpp.register_plugin("xep_0050")
        device.xmpp.register_plugin("xep_0004")
        return device.xmpp["xep_0050"]

    async def execute(self, commands, command, **values):
        """Executes a command, filling its form if it has one, and returns the note of the answer."""
        node = f"groups_internal:{command}"
        answer = (await commands.send_command(settings.HOST, node))["command"]
        if answer["status"] == "executing":
            form = commands.xmpp["xep_0004"].make_form(ftype="submit")
            for var, value in values.items():
                form.add_field(var=var, ftype="text-multi" if isinstance(value, list) else "text-single", value=value)
            answer = (
                await commands.send_command(
                    settings.HOST, node, payload=form.xml, sessionid=answer["sessionid"], action="complete"
                )
            )["command"]
        self.assertEqual(answer["status"], "completed")
        return answer["notes"]

    async def test_an_admin_makes_a_group_and_its_members_see_each_other(self):
        alice, bob = await self.online("alice"), await self.online("bob")
        commands = self.commands(alice)
        listed = await commands.get_commands(settings.HOST)
        self.assertIn("groups_internal:create", [item[1] for item in listed["disco_items"]["items"]])
        notes = await self.execute(commands, "create", name="Team", id="team")
        self.assertEqual(notes, [("info", 'created the group "Team" on localhost, its id is team')])
        notes = await self.execute(commands, "add_member", group="team", users=[jid("alice"), jid("bob")])
        self.assertEqual(notes, [("info", 'added 2 users to "Team"')])
        await bob.contact("alice", "Team")
        await bob.sees(alice)
        notes = await self.execute(commands, "delete", group="team")
        self.assertEqual(notes[0][0], "error")
        self.assertTrue(await self.server.groups("exists", "team"))
        await self.execute(commands, "delete", group="team", sure="1")
        self.assertFalse(await self.server.groups("exists", "team"))

    async def test_a_user_who_is_no_admin_is_refused(self):
        commands = self.commands(await self.online("carol"))
        with self.assertRaises(IqError) as caught:
            await commands.send_command(settings.HOST, "groups_internal:list")
        self.assertEqual(caught.exception.iq["error"]["condition"], "forbidden")
