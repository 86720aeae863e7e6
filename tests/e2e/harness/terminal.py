"""profanity, a client for the terminal, as a person sees it: what is on its screen, and what is typed."""

import os
import shutil
import subprocess
import tempfile

from . import settings
from .waiting import wait_until

ACCOUNT = """
[{user}]
enabled=true
jid={user}@{host}
resource=screen
password={password}
server=127.0.0.1
port={port}
tls.policy=disable
"""

PREFERENCES = """
[ui]
splash=false
occupants=true
[notifications]
message=false
"""


class Profanity:
    """One profanity, in a terminal of tmux that nobody looks at but `screen`."""

    def __init__(self, server, user):
        self.home = server.folder / f"profanity-{user}"
        shutil.rmtree(self.home, ignore_errors=True)
        for name, text in (("data/profanity/accounts", ACCOUNT), ("config/profanity/profrc", PREFERENCES)):
            path = self.home / name
            path.parent.mkdir(parents=True)
            path.write_text(
                text.format(user=user, host=settings.HOST, password=settings.PASSWORD, port=server.c2s_port)
            )
        self.user = user
        # The path of a socket may have 107 bytes.
        self.sockets = tempfile.TemporaryDirectory()

    def tmux(self, *arguments):
        """Talks to a tmux of its own."""
        env = dict(os.environ, HOME=str(self.home), TERM="xterm", LC_ALL="C.UTF-8")
        env |= {"XDG_DATA_HOME": str(self.home / "data"), "XDG_CONFIG_HOME": str(self.home / "config")}
        env.pop("TMUX", None)
        command = ["tmux", "-f", "/dev/null", "-S", f"{self.sockets.name}/tmux", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False).stdout

    async def start(self):
        """Starts it, and waits until it is logged in."""
        self.tmux("new-session", "-d", "-x", "160", "-y", "50", f"profanity -a {self.user}")
        await self.shows(f"{self.user}@{settings.HOST}/screen logged in successfully")

    def screen(self):
        """Returns the text on the screen."""
        return self.tmux("capture-pane", "-p")

    def type(self, line):
        """Types a line."""
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")

    async def shows(self, *texts):
        """Waits until all these texts are on the screen."""
        await wait_until(
            lambda: all(text in self.screen() for text in texts),
            lambda: f"{self.user}'s screen shows {texts}:\n{self.screen()}",
            step=0.1,
        )

    def stop(self):
        """Ends it, with its terminal."""
        self.tmux("kill-server")
        self.sockets.cleanup()
