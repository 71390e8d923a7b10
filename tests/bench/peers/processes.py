"""Servers as trees of processes: started, weighed, and stopped to the last one, by pid.

The benchmark makes itself the reaper of orphans (PR_SET_CHILD_SUBREAPER), so that whatever a server leaves behind, daemons
too, stays among its descendants: it is counted, and it is stopped.
"""
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf("SC_CLK_TCK")


def adopt_orphans():
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) was refused")


def start(command, log, env, cwd):
    with open(log, "ab") as out:
        return subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd,
                                env={**os.environ, **{key: str(value) for key, value in env.items()}})


def stop(roots, patience=10):
    """SIGTERM to those we started, who are asked to stop their own; then SIGKILL to whoever is left."""
    for root in roots:
        root.terminate()
    end = time.monotonic() + patience
    while any(root.poll() is None for root in roots) and time.monotonic() < end:
        time.sleep(0.02)
    for _ in range(100):
        left = descendants()
        if not left:
            return
        for pid in left:
            _kill(pid)
        _reap()
        time.sleep(0.02)
    raise SystemExit(f"peers: processes {left} do not end")


def cpu_seconds():
    """User and system time of all descendants, those that have ended and been waited for included."""
    return sum(sum(map(int, _stat(pid)[11:15])) for pid in descendants() if _stat(pid)) / TICKS


def rss_mib():
    """Resident memory of all descendants; what several of them share counts once for each."""
    pages = 0
    for pid in descendants():
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            pass  # it has just ended
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def descendants():
    """Of this process, zombies left out; parents before children."""
    children = {}
    for folder in Path("/proc").iterdir():
        stat = _stat(folder.name) if folder.name.isdigit() else None
        if stat and stat[0] != "Z":
            children.setdefault(int(stat[1]), []).append(int(folder.name))
    found, todo = [], [os.getpid()]
    while todo:
        mine = children.get(todo.pop(), [])
        found += mine
        todo += mine
    return found


def _stat(pid):
    """The fields of /proc/PID/stat from the state on, or None: the name before them may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _reap():
    """Orphans that we inherited; processes of subprocess.Popen reap themselves just as well."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
