"""How many files and connections may be open at a time. Knows no requests."""

import logging
import resource
from contextlib import suppress

log = logging.getLogger(__name__)

OTHERS = 128  # beside connections: listeners, models, the log, what is open for a moment
CONNECTIONS = 8  # for each request that is worked on, of clients that keep theirs open; 7 kB each


def grant_descriptors(max_requests: int) -> None:
    """Raises the soft limit, which is meant for programs that use select(2), as far as is of use; for what is started later, too.

    Not always to the hard one, which may be a million: connections alone would fill the memory. Warns where that is too low for so
    many requests: who connects then waits, unheard, until somebody else has left.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS * max_requests + OTHERS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # a system may have bounds below its hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft != resource.RLIM_INFINITY and soft < (needed := max_requests + OTHERS):
        log.warning("no more than %d files may be open; SEQSERVE_MAX_REQUESTS=%d needs %d (ulimit -Hn)", soft, max_requests, needed)
