"""Memory that nobody uses any more and that the C library still holds. Knows nothing of what it was used for."""

import ctypes

# Of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
ARENAS = 2
LARGE_BYTES = 4 * 2**20  # above what a step of 64 rows takes, below a model's tables


def keep_tidy() -> None:
    """What is as large as a model goes back to the system when it is freed, where the C library can (glibc).

    Left to itself, glibc keeps as much after a large block was freed once, for every thread that ever loaded a model: swap after
    swap of two models the resident set went up to 70 MB above what they need, and it peaked at 239 MB in place of 162.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in {_M_ARENA_MAX: ARENAS, _M_MMAP_THRESHOLD: LARGE_BYTES, _M_TRIM_THRESHOLD: 2 * LARGE_BYTES}.items():
            mallopt(option, value)


def give_back() -> None:
    """To the system, where the C library can (glibc's malloc_trim(3)); elsewhere nothing happens.

    To load a model frees about its size again, in pieces that are kept in case they are wanted: 20 MB a version that comes.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
