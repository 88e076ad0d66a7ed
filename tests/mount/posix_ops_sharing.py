"""Parity operations on files that several descriptors, processes or mappings use at once; see posix_ops.py."""

import ctypes
import fcntl
import mmap
import os
import select
import signal
import struct
import time

from posix_tools import (as_user, check, digest, get, LIBC, outcome, put, tree)

OFD_GETLK, OFD_SETLK = 36, 37
RWF_APPEND = 16


def lock(fd, command, kind, start, length):
    """A record lock by fcntl; returns the answer's type, start and length."""
    wanted = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
    answer = struct.unpack("hhqqi4x", fcntl.fcntl(fd, command, wanted))
    return answer[0], answer[2], answer[3]


def op_open_file_description_locks(d):
    """They belong to the open, not to the process: two opens of one process exclude each other."""
    put(f"{d}/f", b"x" * 100)
    first, second = (os.open(f"{d}/f", os.O_RDWR) for _ in range(2))
    results = [outcome(lock, first, OFD_SETLK, fcntl.F_WRLCK, 10, 20)]
    for start, length in ((0, 10), (0, 11), (29, 1), (30, 0)):
        results += [outcome(lock, second, OFD_SETLK, fcntl.F_RDLCK, start, length),
                    outcome(lock, second, OFD_GETLK, fcntl.F_WRLCK, start, length)]
    os.close(os.dup(first))
    results.append(outcome(lock, second, OFD_SETLK, fcntl.F_WRLCK, 15, 1))
    os.close(first)
    results.append(outcome(lock, second, OFD_SETLK, fcntl.F_WRLCK, 15, 1))
    os.close(second)
    return results


def op_lock_lifetimes(d):
    """Closing any descriptor of a file drops a process's record locks; a flock goes with the last one."""
    put(f"{d}/f", b"x" * 100)
    fd = os.open(f"{d}/f", os.O_RDWR)

    def elsewhere(kind):
        other = os.open(f"{d}/f", os.O_RDWR)
        return outcome(kind, other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def both():
        return as_user(0, 0, [], elsewhere, fcntl.lockf), as_user(0, 0, [], elsewhere, fcntl.flock)

    fcntl.lockf(fd, fcntl.LOCK_EX)
    fcntl.flock(fd, fcntl.LOCK_EX)
    results = [both()]
    copy = os.dup(fd)
    os.close(os.open(f"{d}/f", os.O_RDONLY))
    results.append(both())
    os.close(fd)
    results.append(both())
    os.close(copy)
    results.append(both())
    return results


def op_deadlock_of_locks(d):
    """The second of two processes that wait for each other is told."""
    put(f"{d}/f", b"xx")
    to_child, to_parent = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        fd = os.open(f"{d}/f", os.O_RDWR)
        fcntl.lockf(fd, fcntl.LOCK_EX, 1, 1)
        os.write(to_parent[1], b"1")
        os.read(to_child[0], 1)
        outcome(fcntl.lockf, fd, fcntl.LOCK_EX, 1, 0)  # waits for the parent
        os._exit(0)
    fd = os.open(f"{d}/f", os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)
    os.read(to_parent[0], 1)
    os.write(to_child[1], b"1")
    deadline = time.monotonic() + 10
    while not waits_for_lock(child) and time.monotonic() < deadline:
        time.sleep(0.001)
    result = outcome(fcntl.lockf, fd, fcntl.LOCK_EX, 1, 1)
    os.close(fd)
    os.waitpid(child, 0)
    for end in (*to_child, *to_parent):
        os.close(end)
    return result


def waits_for_lock(pid):
    with open("/proc/locks", encoding="ascii") as locks:
        return any("->" in line and f" {pid} " in line for line in locks)


def op_append_by_flag(d):
    """RWF_APPEND and O_APPEND that is switched on and off on an open file."""
    put(f"{d}/f", b"0123456789")
    fd = os.open(f"{d}/f", os.O_RDWR)
    results = [os.pwritev(fd, [b"end"], 0, RWF_APPEND), os.pwritev(fd, [b"S"], 1, os.RWF_DSYNC),
               outcome(os.preadv, fd, [bytearray(4)], 0, os.RWF_HIPRI)]
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_APPEND)
    results += [os.write(fd, b"appended"), os.pwrite(fd, b"too", 0), os.lseek(fd, 0, os.SEEK_CUR)]
    fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    results += [os.pwrite(fd, b"AB", 0), flags & os.O_ACCMODE, get(f"{d}/f")]
    os.close(fd)
    return results


def op_stores_move_the_times(d):
    """A store into a shared mapping changes mtime and ctime, at the latest with msync."""
    results = []
    for synced in (True, False):
        put(f"{d}/f{synced}", b"\0" * 8192)
        fd = os.open(f"{d}/f{synced}", os.O_RDWR)
        os.utime(fd, ns=(1, 1))
        shared = mmap.mmap(fd, 8192)
        before = os.stat(f"{d}/f{synced}"), os.fstat(fd)
        shared[100] = 1
        if synced:
            shared.flush()
        else:
            shared.close()
            os.fsync(fd)
        after = os.stat(f"{d}/f{synced}"), os.fstat(fd)
        results += [b.st_mtime_ns == 1 and a.st_mtime_ns > 1 and a.st_ctime_ns >= b.st_ctime_ns for b, a in zip(before, after)]
        os.close(fd)
        if synced:
            shared.close()
        results.append(os.stat(f"{d}/f{synced}").st_mtime_ns > 1)
    return results


def op_attributes_follow_each_write(d):
    """Whoever asks after a write, by name or by the descriptor, sees its size and its time."""
    results = []
    for flags in (os.O_WRONLY, os.O_WRONLY | os.O_APPEND, os.O_RDWR):
        path = f"{d}/f{flags}"
        fd = os.open(path, flags | os.O_CREAT, 0o644)
        results.append((os.fstat(fd).st_size, os.stat(path).st_size))
        for size in (10, 20, 5000):
            os.utime(fd, ns=(1, 1))
            os.fstat(fd), os.stat(path)  # what is known now is remembered
            os.write(fd, b"x" * (size - os.fstat(fd).st_size))
            for seen in (os.fstat(fd), os.stat(path)):
                results.append((seen.st_size, seen.st_mtime_ns > 1))
        os.ftruncate(fd, 7)
        results.append((os.fstat(fd).st_size, os.stat(path).st_size))
        os.close(fd)
        results.append(os.stat(path).st_size)
    return results


def op_stores_after_a_look(d):
    """What was known of a file before it was mapped is not taken for its state after a store."""
    put(f"{d}/f", b"\0" * 8192)
    os.utime(f"{d}/f", ns=(1, 1))
    results = [os.stat(f"{d}/f").st_mtime_ns == 1]
    fd = os.open(f"{d}/f", os.O_RDWR)
    shared = mmap.mmap(fd, 8192)
    shared[100] = 1
    shared.flush()
    results += [os.stat(f"{d}/f").st_mtime_ns > 1, os.fstat(fd).st_mtime_ns > 1]
    os.close(fd)
    shared[200] = 1
    shared.flush()
    shared.close()
    results.append(os.stat(f"{d}/f").st_mtime_ns > 1)
    return results


def op_mapping_beyond_the_end(d):
    """The rest of the last page is zeroes; beyond it is SIGBUS, also after a truncate."""
    def touch(size, at):
        put(f"{d}/f", b"x" * 5000)
        fd = os.open(f"{d}/f", os.O_RDWR)
        mapping = mmap.mmap(fd, 5000)
        first = mapping[at]
        os.ftruncate(fd, size)
        os.close(fd)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGBUS, signal.SIG_DFL)
            os._exit(mapping[at])
        return first, os.waitpid(child, 0)[1]

    results = [touch(size, at) for size, at in ((4999, 4998), (4500, 4800), (100, 4097), (0, 0))]
    return results, os.stat(f"{d}/f").st_size


def op_splice(d):
    data = bytes(i % 251 for i in range(60000))
    put(f"{d}/from", data)
    source, target = os.open(f"{d}/from", os.O_RDONLY), os.open(f"{d}/to", os.O_RDWR | os.O_CREAT)
    reading, writing = os.pipe()
    results = []
    for offset in range(0, 60000, 20000):
        got = os.splice(source, writing, 20000, offset_src=offset)
        while got:
            put_there = os.splice(reading, target, got)
            got -= put_there
            results.append(put_there)
    results.append(outcome(os.splice, reading, os.open(f"{d}/to", os.O_WRONLY | os.O_APPEND), 10))
    os.close(reading)
    os.close(writing)
    return sum(results[:-1]), results[-1], digest(get(f"{d}/to")) == digest(data), tree(d)


def op_notifications(d):
    """inotify tells of what is done through the same mount, in the same order."""
    create, modify, moved, delete, attrib, close_write = 0x100, 0x2, 0xC0, 0x200, 0x4, 0x8
    put(f"{d}/old", b"x")
    watch = check(LIBC.inotify_init1(os.O_NONBLOCK))
    check(LIBC.inotify_add_watch(watch, os.fsencode(d), create | modify | moved | delete | attrib | close_write))
    put(f"{d}/new", b"abc")
    os.rename(f"{d}/new", f"{d}/renamed")
    os.chmod(f"{d}/old", 0o600)
    os.mkdir(f"{d}/dir")
    os.link(f"{d}/old", f"{d}/hard")
    os.truncate(f"{d}/old", 0)
    os.unlink(f"{d}/old")
    os.rmdir(f"{d}/dir")
    events = []
    while select.select([watch], [], [], 0)[0]:
        data = os.read(watch, 65536)
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            events.append((hex(mask), data[16:16 + length].rstrip(b"\0")))
            data = data[16 + length:]
    os.close(watch)
    return events


def op_leases(d):
    put(f"{d}/f", b"x")
    fd = os.open(f"{d}/f", os.O_RDONLY)
    results = [outcome(fcntl.fcntl, fd, fcntl.F_GETLEASE), outcome(fcntl.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_RDLCK),
               outcome(fcntl.fcntl, fd, fcntl.F_GETLEASE), outcome(fcntl.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)]
    os.close(fd)
    return results


def op_sync_calls(d):
    put(f"{d}/f", b"x" * 10000)
    results = []
    for path, flags in ((f"{d}/f", os.O_RDWR), (d, os.O_RDONLY)):
        fd = os.open(path, flags)
        results += [outcome(os.fsync, fd), outcome(os.fdatasync, fd), LIBC.syncfs(fd),
                    outcome(os.posix_fadvise, fd, 0, 0, os.POSIX_FADV_DONTNEED)]
        if flags == os.O_RDWR:
            results.append(LIBC.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(4096), 7))
        os.close(fd)
    return results
