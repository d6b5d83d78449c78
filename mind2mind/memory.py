"""Keeps freed memory for the next tensors instead of giving it back to the system.

A picture of 1024 px passes through some hundred maps of up to 64 MB. glibc asks the system for each and gives
it back at once, and the system fills every page with zeros again: half of the time of such a picture.
"""

import contextlib
import ctypes
import sys

# From glibc's malloc.h; each takes a number of bytes, the last one a count
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
KEPT_BYTES = 2**30


def keep_freed() -> bool:
    """Makes this process keep up to 1 GiB of freed memory; gives whether it could (glibc only).

    One arena for all threads, since others hold no block above 64 MB.
    """
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):  # musl has no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        settings = ((ARENA_MAX, 1), (MMAP_THRESHOLD, KEPT_BYTES), (TRIM_THRESHOLD, KEPT_BYTES))
        return [mallopt(name, value) for name, value in settings] == [1] * len(settings)
    return False


def give_back() -> None:
    """Gives what is free now back to the system: for a process that only waits from here on."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
