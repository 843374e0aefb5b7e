"""One process at a time: a lock that the operating system takes back when its owner ends, however it ends."""

import contextlib
import errno
import time

WAIT = 0.2  # seconds between two tries
BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextlib.contextmanager
def locked(path, waiting=lambda: None):
    """Hold the lock of a file while the block runs; the file stays, for the lock is the system's and not the file's.

    A file system that has no locks (some network folders) costs the protection, not the run.

    Arguments:
        waiting: called once where another process holds the lock.
    Raises:
        OSError: the file cannot be written.
    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with locked(Path(tempfile.mkdtemp()) / "lock"):
        ...     print("alone")
        alone
    """
    with open(path, "a+b") as file:
        told = False
        while not (held := _try(file)):
            if not told:
                waiting()
                told = True
            time.sleep(WAIT)
        try:
            yield
        finally:
            if held == "locked":
                _release(file)


def _try(file):
    """Return "locked", "no locks here", or None where another process holds the lock."""
    try:
        _acquire(file)
        return "locked"
    except OSError as problem:
        return None if problem.errno in BUSY else "no locks here"


try:
    import fcntl

    def _acquire(file):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _release(file):
        fcntl.flock(file, fcntl.LOCK_UN)

except ImportError:  # Windows
    import msvcrt

    def _acquire(file):
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _release(file):
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
