"""Python values as Lua source."""


def literal(value):
    """Writes a Python value as a Lua expression. None at the end of a table is absent, as in Lua."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return '"' + "".join(_escaped(byte) for byte in value.encode()) + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{literal(k)}] = {literal(v)}" for k, v in value.items()) + "}"
    return "{" + ", ".join(literal(entry) for entry in value) + "}"


def _escaped(byte):
    char = chr(byte)
    return char if byte < 128 and (char.isalnum() or char in " @./_-") else f"\\{byte:03d}"
