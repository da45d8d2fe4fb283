"""Memory that nobody uses any more and that the C library still holds. Knows nothing of what it was used for."""

import ctypes


def give_back() -> None:
    """To the system, where the C library can (glibc's malloc_trim(3)); elsewhere nothing happens.

    To load a model frees about its size again, in pieces that are kept in case they are wanted: 20 MB a version that comes.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
