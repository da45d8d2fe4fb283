"""How many files and connections may be open at a time: as many as the system grants this process. Knows no requests."""

import logging
import resource
from contextlib import suppress

log = logging.getLogger(__name__)

OTHERS = 128  # beside connections: listeners, models, the log, what is open for a moment


def grant_descriptors(max_requests: int) -> None:
    """Raises the soft limit, which is meant for programs that use select(2), to the hard one; for what is started later, too.

    Warns where even that is too low for so many requests: who connects then waits, unheard, until somebody else has left.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # a system may have bounds below its hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft != resource.RLIM_INFINITY and soft < (needed := max_requests + OTHERS):
        log.warning("no more than %d files may be open; SEQSERVE_MAX_REQUESTS=%d needs %d (ulimit -Hn)", soft, max_requests, needed)
