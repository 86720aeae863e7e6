"""The native library is missing or not the one that belongs to the shim: the module stays out, the server stays up."""

import pathlib
import re
import shutil
import subprocess
import tomllib
import unittest

from harness import settings
from harness.case import ServerCase
from harness.server import Server

LIBRARY = "groups_internal_native.so"
#: What a line that says what to do has: the thing and the deed.
ADVICE = re.compile(r"re-?install|install|build|copy|replace|put|restart|update|upgrade", re.IGNORECASE)


class NativeLibrary(ServerCase):
    clean_log = False

    async def asyncSetUp(self):
        self.devices = []
        self.server = Server(settings.SCRATCH / settings.version / f"library-{self._testMethodName[:80]}")
        self.server.plugins = self.server.folder / "plugins"
        self.plugin = self.server.plugins / "mod_groups_internal"
        shutil.copytree(settings.PLUGINS / "mod_groups_internal", self.plugin)
        self.addAsyncCleanup(self._stop)

    async def check_refused(self):
        """The module is not loaded, everything else is, and one line of the log says what to do."""
        await self.server.start()
        self.assertFalse(await self.server.is_loaded("groups_internal"))
        self.assertTrue(await self.server.run("return prosody.hosts[module.host].modules.groups_internal == nil"))
        self.assertTrue(await self.server.is_loaded("roster"))
        await self.accounts("alice")
        alice = await self.online("alice")
        await alice.fence()

        lines = [line for line in self.server.log() if line[1] in ("error", "warn") and "groups_internal" in str(line)]
        advice = [line for line in lines if LIBRARY.removesuffix(".so") in line[2] and ADVICE.search(line[2])]
        self.assertEqual(len(advice), 1, f"one line says what to do; the log has {lines}")
        self.assertNotIn("traceback", str(lines))
        self.assertNotIn("\n", advice[0][2], "the line is one line")
        self.assertLess(len(lines), 3, f"the line drowns: {lines}")
        return advice[0][2]

    async def check_mended(self):
        """With the right files in place again, a restart is all it takes."""
        shutil.rmtree(self.plugin)
        shutil.copytree(settings.PLUGINS / "mod_groups_internal", self.plugin)
        await self.server.restart()
        self.assertTrue(await self.server.is_loaded("groups_internal"))
        self.assertEqual(await self.server.groups("create", {"name": "Team"}, False, "team"), "team")

    async def test_a_missing_library_keeps_the_module_out_and_the_log_says_what_to_do(self):
        (self.plugin / LIBRARY).unlink()
        await self.check_refused()
        await self.check_mended()

    async def test_an_empty_library_keeps_the_module_out_and_the_log_says_what_to_do(self):
        (self.plugin / LIBRARY).write_bytes(b"")
        await self.check_refused()

    async def test_a_library_of_garbage_keeps_the_module_out_and_the_log_says_what_to_do(self):
        (self.plugin / LIBRARY).write_bytes(b"this is no library\n" * 1000)
        await self.check_refused()

    async def test_another_library_under_the_name_keeps_the_module_out_and_the_log_says_what_to_do(self):
        other = await self.some_other_library()
        (self.plugin / LIBRARY).write_bytes(other.read_bytes())
        await self.check_refused()

    @unittest.skipUnless(shutil.which("cargo"), "needs cargo to build for another Lua")
    async def test_a_library_for_another_lua_keeps_the_module_out_and_the_log_says_what_to_do(self):
        folder = settings.SCRATCH / "lua53"
        command = ["cargo", "build", "--quiet", "--locked", "--no-default-features", "--features", "lua53"]
        subprocess.run([*command, "--target-dir", str(folder)], cwd=settings.ROOT, check=True)
        built = folder / "debug" / f"lib{LIBRARY}"
        (self.plugin / LIBRARY).write_bytes(built.read_bytes())
        self.assertIn("Lua 5.4", await self.check_refused())

    async def test_a_library_of_another_version_keeps_the_module_out_and_the_log_says_what_to_do(self):
        version = tomllib.loads((settings.ROOT / "Cargo.toml").read_text())["package"]["version"]
        changed = 0
        for path in self.plugin.glob("*.lua"):
            text = path.read_text()
            changed += text.count(f'"{version}"')
            path.write_text(text.replace(f'"{version}"', '"0.0.1"'))
        self.assertEqual(changed, 1, f"the shim names its version {version} once")
        line = await self.check_refused()
        self.assertIn(version, line)
        self.assertIn("0.0.1", line)

    async def some_other_library(self):
        """One of Prosody's own libraries: it loads, and has none of what the shim wants."""
        server = Server(settings.SCRATCH / settings.version / "library-other", modules=())
        await server.start()
        path = await server.run('return package.searchpath("util.hashes", package.cpath)')
        await server.stop()
        return pathlib.Path(path)
