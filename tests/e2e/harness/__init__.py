"""What the end-to-end tests stand on: a Prosody that can be killed, and XMPP clients that remember."""
