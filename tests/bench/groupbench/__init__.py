"""The speed of mod_groups_internal, measured on live servers with clients over TCP."""
