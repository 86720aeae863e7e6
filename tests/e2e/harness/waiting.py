"""Waiting for a condition instead of for a time."""

import asyncio
import inspect
import time

from . import settings

#: Far above what anything takes on a slow machine: reaching it is a failure.
TIMEOUT = settings.TIMEOUT
STEP = 0.01


async def wait_until(condition, what, timeout=TIMEOUT, step=STEP):
    """Waits until `condition()` (plain or async) is true and returns its value; `what` names it in the failure.

    `what` may be a function: it is called when the time is up, to say how things stand then.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise AssertionError(f"not within {timeout:g} s: {text}")
        await asyncio.sleep(step)
