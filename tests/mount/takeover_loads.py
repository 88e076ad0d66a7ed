"""What goes on below a mount while its worker is killed: each load is a process of its own that checks every answer.

    takeover_loads.py LOAD DIRECTORY STOP_FILE

runs until STOP_FILE is there, and prints one line of JSON: rounds, the longest call in ms, and `error`, which is null
if every call did exactly what it should.
"""

import errno
import json
import os
import random
import sys
import time
import traceback


class Clock:
    """Times calls; the longest is what a task would have felt."""

    def __init__(self):
        self.longest = 0.0

    def __call__(self, call, *arguments, **named):
        begin = time.monotonic()
        try:
            return call(*arguments, **named)
        finally:
            self.longest = max(self.longest, time.monotonic() - begin)


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def write_file(path, content, clock):
    fd = clock(os.open, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
    try:
        expect(clock(os.write, fd, content) == len(content), f"short write to {path}")
    finally:
        clock(os.close, fd)


def read_file(path, clock):
    fd = clock(os.open, path, os.O_RDONLY)
    try:
        return clock(os.read, fd, 1 << 20)
    finally:
        clock(os.close, fd)


def one_round(directory, number, clock):
    """What a map task does: temporary file, rename, look, read back, remove."""
    content = f"{number}:".encode() * (1 + number % 2000)
    temporary, final = f"{directory}/f{number}.tmp", f"{directory}/f{number}"
    write_file(temporary, content, clock)
    clock(os.rename, temporary, final)
    expect(clock(os.stat, final).st_size == len(content), f"{final} has another size")
    expect(not clock(os.path.lexists, temporary), f"{temporary} is still there")
    expect(read_file(final, clock) == content, f"{final} has another content")
    if number % 5 == 0:
        others(directory, number, final, clock)
    clock(os.unlink, final)
    expect(not clock(os.path.lexists, final), f"{final} is still there")


def others(directory, number, final, clock):
    """The rest of what must be executed exactly once."""
    sub = f"{directory}/d{number}"
    clock(os.mkdir, sub)
    clock(os.link, final, f"{sub}/hard")
    expect(clock(os.stat, final).st_nlink == 2, f"{final} has no second name")
    clock(os.symlink, "target", f"{sub}/soft")
    clock(os.mkfifo, f"{sub}/fifo")
    clock(os.setxattr, final, "user.number", str(number).encode(), os.XATTR_CREATE)
    write_file(f"{sub}/other", b"other", clock)
    clock(os.removexattr, final, "user.number")
    expect(sorted(clock(os.listdir, sub)) == ["fifo", "hard", "other", "soft"], f"{sub} lists something else")
    for name in ("fifo", "hard", "other", "soft"):
        clock(os.unlink, f"{sub}/{name}")
    clock(os.rmdir, sub)


def writer(directory, is_over, clock):
    number = 0
    while not is_over():
        one_round(directory, number, clock)
        number += 1
    expect(os.listdir(directory) == [], f"{directory} is not empty in the end")
    return number


def appender(directory, is_over, clock):
    """One open file for the whole time; every record must be there once."""
    path = f"{directory}/log"
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
    number = 0
    while not is_over():
        record = f"{number:09d}\n".encode()
        expect(clock(os.write, fd, record) == 10, "short append")
        if number % 64 == 0:
            expect(clock(os.pread, fd, 10, number * 10) == record, "an appended record is not where it should be")
        number += 1
        time.sleep(0.0005)
    expect(os.fstat(fd).st_size == number * 10, f"{os.fstat(fd).st_size} bytes after {number} records of 10")
    os.close(fd)
    with open(path, "rb") as file:
        expect(file.read() == b"".join(b"%09d\n" % i for i in range(number)), "lost or doubled records")
    os.unlink(path)
    return number


def nameless(directory, is_over, clock):
    """A file that was removed while open, and one that never had a name, are still there for whoever has them open."""
    path = f"{directory}/removed"
    fds = [os.open(path, os.O_CREAT | os.O_RDWR, 0o600), os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)]
    os.unlink(path)
    number = 0
    while not is_over():
        record = f"{number:09d}\n".encode()
        for fd in fds:
            expect(clock(os.pwrite, fd, record, number * 10) == 10, "short write")
            back = random.randrange(number + 1)
            expect(clock(os.pread, fd, 10, back * 10) == f"{back:09d}\n".encode(), "a record is lost")
        number += 1
        time.sleep(0.001)
    for fd in fds:
        expect(os.fstat(fd).st_size == number * 10, "the size is wrong")
        os.close(fd)
    return number


def lister(directory, is_over, clock):
    """Names that are there throughout are listed once each, however often the worker dies on the way."""
    there = {f"stays{i:04d}" for i in range(500)}
    for name in there:
        os.close(os.open(f"{directory}/{name}", os.O_CREAT | os.O_WRONLY, 0o600))
    rounds = 0
    while rounds == 0 or not is_over():
        seen = clock(os.listdir, directory)
        expect(len(seen) == len(set(seen)), "a name twice")
        expect(set(seen) == there, "other names")
        with os.scandir(directory) as entries:
            expect(sum(1 for entry in entries if clock(entry.stat).st_size == 0) == len(there), "an entry is lost")
        rounds += 1
    return rounds


def partition_reader(path, is_over, clock):
    """Reads partitions as a slow reducer does: what was opened is read to the end, whoever serves it."""
    expected = None
    rounds = 0
    while rounds < 2 or not is_over():
        parts = []
        fd = clock(os.open, path, os.O_RDONLY)
        while part := clock(os.read, fd, 64 << 10):
            parts.append(part)
            time.sleep(0.002)
        os.close(fd)
        content = b"".join(parts)
        blocks = sorted(content[i:i + (1 << 20)] for i in range(0, len(content), 1 << 20))
        if expected is None:
            expected = blocks
        expect(blocks == expected, f"{len(content)} other bytes")
        rounds += 1
    return rounds


LOADS = {load.__name__: load for load in (writer, appender, nameless, lister, partition_reader)}


def main():
    load, directory, stop_file = sys.argv[1:]
    clock = Clock()
    parent = os.getppid()
    error, rounds = None, 0
    try:
        rounds = LOADS[load](directory, lambda: os.path.exists(stop_file) or os.getppid() != parent, clock)
    except (AssertionError, OSError) as caught:
        name = errno.errorcode.get(getattr(caught, "errno", None) or 0, "")
        error = f"{name} {caught}\n{traceback.format_exc(limit=-4)}"
    print(json.dumps({"load": load, "rounds": rounds, "longest_ms": round(clock.longest * 1000, 1), "error": error}))


if __name__ == "__main__":
    main()
