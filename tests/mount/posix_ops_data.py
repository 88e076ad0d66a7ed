"""Parity operations on the bytes, attributes and locks of files, and on reading directories; see posix_ops.py."""

import ctypes
import fcntl
import mmap
import os
import struct
import subprocess
import time

from posix_tools import (as_user, check, digest, facts, get, KEEP_SIZE, LIBC, link_descriptor, outcome, PUNCH_HOLE,
                         put, put_at, tree, with_fd, ZERO_RANGE)


def op_truncate(d):
    put(f"{d}/f", b"x" * 10000)
    results = []
    for size in (5000, 0, 123456, 4096):
        os.truncate(f"{d}/f", size)
        results.append((os.stat(f"{d}/f").st_size, digest(get(f"{d}/f"))))
    fd = os.open(f"{d}/f", os.O_RDWR)
    os.ftruncate(fd, 100)
    results += [os.fstat(fd).st_size, outcome(os.ftruncate, fd, -1), outcome(os.ftruncate, fd, 1 << 62)]
    os.close(fd)
    reader = os.open(f"{d}/f", os.O_RDONLY)
    results += [outcome(os.ftruncate, reader, 0), outcome(os.write, reader, b"x")]
    os.close(reader)
    os.close(os.open(f"{d}/f", os.O_WRONLY | os.O_TRUNC))
    return results, tree(d)


def op_fallocate_modes(d):
    """All that the kernel lets FUSE do: collapsing and inserting ranges are refused before we are asked."""
    results = []
    modes = [0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE]
    for mode in modes:
        for offset, length in ((0, 8192), (4096, 4096), (60000, 20000), (0, 0)):
            path = f"{d}/f{mode}.{offset}.{length}"
            put(path, bytes(i % 251 for i in range(65536)))
            fd = os.open(path, os.O_RDWR)
            ctypes.set_errno(0)
            result = outcome(lambda: check(LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length))))
            os.close(fd)
            results.append((mode, offset, length, result, os.stat(path).st_size, digest(get(path))))
    return results


def op_sparse_seek(d):
    fd = os.open(f"{d}/f", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"data", 1 << 20)
    os.pwrite(fd, b"more", 3 << 20)
    os.fsync(fd)
    results = [outcome(os.lseek, fd, at, whence)
               for whence in (os.SEEK_DATA, os.SEEK_HOLE) for at in (0, 1 << 20, (1 << 20) + 4096, 3 << 20, 4 << 20)]
    results += [os.lseek(fd, 0, os.SEEK_END), os.lseek(fd, -4, os.SEEK_CUR), os.read(fd, 10), outcome(os.lseek, fd, -1, 0)]
    os.close(fd)
    return results


def op_copy_file_range(d):
    data = bytes(i % 253 for i in range(300000))
    put(f"{d}/from", data)
    source = os.open(f"{d}/from", os.O_RDONLY)
    target = os.open(f"{d}/to", os.O_RDWR | os.O_CREAT)
    results = [os.copy_file_range(source, target, 100000, 1000, 5000), os.copy_file_range(source, target, 300000, 250000, 0),
               outcome(os.copy_file_range, target, source, 100), os.copy_file_range(source, target, 10, 1 << 20),
               os.sendfile(target, source, 200000, 1000)]
    os.close(source)
    os.close(target)
    return results, digest(get(f"{d}/to")), tree(d)


def op_append(d):
    first = os.open(f"{d}/f", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    second = os.open(f"{d}/f", os.O_WRONLY | os.O_APPEND)
    plain = os.open(f"{d}/f", os.O_RDWR)
    for number in range(50):
        os.write(first, b"first %d\n" % number)
        os.write(second, b"second %d\n" % number)
    os.pwrite(plain, b"PLAIN", 0)
    os.pwrite(first, b"<pwrite goes to the end>", 0)
    os.lseek(first, 0, os.SEEK_SET)
    os.write(first, b"end")
    results = os.fstat(plain).st_size, os.pread(plain, 100000, 0), os.lseek(first, 0, os.SEEK_CUR)
    for fd in (first, second, plain):
        os.close(fd)
    return results


def op_two_processes_appending(d):
    path = f"{d}/f"
    put(path)

    def append(mark):
        with_fd(path, lambda fd: [os.write(fd, mark * 99 + b"\n") for _ in range(500)], os.O_WRONLY | os.O_APPEND)
        return "done"

    children = []
    for mark in (b"a", b"b", b"c"):
        child = os.fork()
        if child == 0:
            append(mark)
            os._exit(0)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    return statuses, digest(b"".join(sorted(get(path).splitlines(keepends=True)))), os.stat(path).st_size


def op_direct_io(d):
    if outcome(os.open, f"{d}/f", os.O_RDWR | os.O_CREAT | os.O_DIRECT) == "EINVAL":
        return "EINVAL"
    fd = os.open(f"{d}/f", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    buffer = mmap.mmap(-1, 65536)
    buffer.write(bytes(i % 256 for i in range(65536)))
    wrote = os.pwritev(fd, [buffer], 0)
    back = mmap.mmap(-1, 65536)
    got = os.preadv(fd, [back], 0)
    tail = os.preadv(fd, [back], 61440)
    os.close(fd)
    return wrote, got, tail, digest(get(f"{d}/f"))


def op_tmpfile(d):
    fd = outcome(os.open, d, os.O_TMPFILE | os.O_RDWR, 0o640)
    if isinstance(fd, str):
        return fd
    os.write(fd, b"without a name")
    before = tree(d), os.fstat(fd).st_nlink, oct(os.fstat(fd).st_mode)
    linked = outcome(link_descriptor, fd, f"{d}/named")
    os.write(fd, b", then with one")
    os.close(fd)
    excl = os.open(d, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
    refused = outcome(link_descriptor, excl, f"{d}/refused")
    os.close(excl)
    os.chmod(d, 0o777)

    def by_user():
        own = os.open(d, os.O_TMPFILE | os.O_RDWR, 0o666)
        return os.fstat(own).st_uid, os.fstat(own).st_gid, oct(os.fstat(own).st_mode)

    return before, linked, refused, get(f"{d}/named"), as_user(1000, 1001, [], by_user), tree(d)


def op_mmap_shared(d):
    put(f"{d}/f", b"\0" * 20000)
    fd = os.open(f"{d}/f", os.O_RDWR)
    shared = mmap.mmap(fd, 20000)
    other = mmap.mmap(fd, 20000)
    shared[0:5] = b"hello"
    shared[19990:20000] = b"0123456789"
    seen = other[0:5]
    os.pwrite(fd, b"written", 8192)
    also = shared[8192:8199]
    shared.flush()
    by_read = os.pread(fd, 5, 0), get(f"{d}/f")[19990:]
    private = mmap.mmap(fd, 4096, mmap.MAP_PRIVATE)
    private[0:5] = b"XXXXX"
    shared.close()
    other.close()
    os.close(fd)
    return seen, also, by_read, digest(get(f"{d}/f"))


def op_write_beyond_limits(d):
    fd = os.open(f"{d}/f", os.O_RDWR | os.O_CREAT)
    results = [outcome(os.pwrite, fd, b"x", 1 << 62), outcome(os.pread, fd, 1, 1 << 40), outcome(os.pwrite, fd, b"", 0)]

    def limited():
        import resource
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        return [outcome(os.pwrite, fd, b"x" * 600, 0), outcome(os.pwrite, fd, b"x" * 600, 600), outcome(os.pwrite, fd, b"x", 1000)]

    results += [as_user(0, 0, [], limited), os.fstat(fd).st_size]
    os.close(fd)
    return results


def op_execute(d):
    with open("/bin/true", "rb") as program:
        put(f"{d}/true", program.read(), 0o755)
    put(f"{d}/script", b"#!/bin/sh\necho ran $1\n", 0o755)
    put(f"{d}/plain", b"#!/bin/sh\n", 0o644)
    with open("/bin/sleep", "rb") as program:
        put(f"{d}/sleep", program.read(), 0o755)
    running = subprocess.Popen([f"{d}/sleep", "30"])
    busy = [outcome(os.open, f"{d}/sleep", flags) for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC)]
    busy += [outcome(os.truncate, f"{d}/sleep", 0), os.stat(f"{d}/sleep").st_size, running.poll()]
    running.kill()
    running.wait()
    return (subprocess.run([f"{d}/true"], check=False).returncode,
            subprocess.run([f"{d}/script", "well"], capture_output=True, check=False).stdout, busy,
            outcome(subprocess.run, [f"{d}/plain"]))


def op_inode_numbers_are_reused_safely(d):
    contents = []
    for number in range(200):
        path = f"{d}/f{number % 3}"
        outcome(os.unlink, path)
        put(path, b"%d" % number)
        contents.append(get(path) == b"%d" % number and os.stat(path).st_nlink == 1)
    return all(contents)


# ---- attributes --------------------------------------------------------------------------------------------------


def op_xattrs(d):
    put(f"{d}/f")
    os.mkdir(f"{d}/dir")
    os.symlink("f", f"{d}/s")
    os.mkfifo(f"{d}/fifo")
    results = []
    for path in (f"{d}/f", f"{d}/dir"):
        results += [
            outcome(os.setxattr, path, "user.a", b"1"), outcome(os.setxattr, path, "user.a", b"2", os.XATTR_CREATE),
            outcome(os.setxattr, path, "user.b", b"2", os.XATTR_REPLACE), outcome(os.setxattr, path, "user.empty", b""),
            outcome(os.setxattr, path, "user.bin", bytes(range(256))), outcome(os.getxattr, path, "user.bin"),
            outcome(os.setxattr, path, "trusted.t", b"t"), outcome(os.getxattr, path, "user.missing"),
            outcome(os.setxattr, path, "nonsense.x", b""), outcome(os.setxattr, path, "user." + "n" * 251, b""),
            outcome(os.setxattr, path, "user.big", b"x" * 70000), outcome(os.removexattr, path, "user.empty"),
            outcome(os.setxattr, path, "security.test", b"s"), sorted(os.listxattr(path)),
        ]
        results.append(as_user(1000, 1000, [], lambda p=path: sorted(os.listxattr(p))))
        results.append(as_user(1000, 1000, [], lambda p=path: os.getxattr(p, "trusted.t")))
    results.append(outcome(os.setxattr, f"{d}/s", "user.x", b"", follow_symlinks=False))
    results.append(outcome(os.setxattr, f"{d}/s", "trusted.x", b"1", follow_symlinks=False))
    results.append(outcome(os.listxattr, f"{d}/s", follow_symlinks=False))
    results.append(outcome(os.setxattr, f"{d}/fifo", "user.x", b""))
    results.append(outcome(os.setxattr, f"{d}/fifo", "trusted.x", b"q"))
    results.append(outcome(os.getxattr, f"{d}/fifo", "trusted.x"))
    return results


def acl(entries):
    """The binary form of an ACL: (tag, permissions, id) each."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, perm, who) for tag, perm, who in entries)


USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER, NOBODY = 1, 2, 4, 8, 16, 32, 0xFFFFFFFF


def op_acls(d):
    entries = [(USER_OBJ, 6, NOBODY), (USER, 4, 1000), (GROUP_OBJ, 0, NOBODY), (GROUP, 6, 2000), (MASK, 6, NOBODY), (OTHER, 0, NOBODY)]
    put(f"{d}/f", b"secret", 0o600)
    os.chmod(d, 0o755)
    results = [outcome(os.setxattr, f"{d}/f", "system.posix_acl_access", acl(entries))]
    results += [facts(f"{d}/f"), outcome(os.getxattr, f"{d}/f", "system.posix_acl_access")]
    for uid, groups in ((1000, []), (1001, []), (1001, [2000])):
        results.append((uid, groups, as_user(uid, uid, groups, get, f"{d}/f"), as_user(uid, uid, groups, put_at, f"{d}/f", b"S", 0)))
    os.chmod(f"{d}/f", 0o640)
    results += [facts(f"{d}/f"), outcome(os.getxattr, f"{d}/f", "system.posix_acl_access")]
    os.mkdir(f"{d}/dir")
    results.append(outcome(os.setxattr, f"{d}/dir", "system.posix_acl_default", acl([(USER_OBJ, 7, NOBODY), *entries[1:]])))
    old = os.umask(0o077)
    put(f"{d}/dir/inherits", b"", 0o666)
    os.mkdir(f"{d}/dir/sub")
    os.umask(old)
    results += [tree(f"{d}/dir"), outcome(os.getxattr, f"{d}/dir/inherits", "system.posix_acl_access"),
                outcome(os.getxattr, f"{d}/dir/sub", "system.posix_acl_default"), outcome(os.removexattr, f"{d}/dir", "system.posix_acl_default"),
                outcome(os.setxattr, f"{d}/f", "system.posix_acl_access", b"nonsense")]
    return results


def op_times(d):
    put(f"{d}/f", b"x")
    os.symlink("f", f"{d}/s")
    os.mkdir(f"{d}/dir")
    results = []
    for path in (f"{d}/f", f"{d}/dir"):
        os.utime(path, ns=(1_111_111_111_123_456_789, 2_222_222_222_987_654_321))
        results.append((os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns))
    os.utime(f"{d}/s", ns=(5, 7), follow_symlinks=False)
    results.append((os.lstat(f"{d}/s").st_mtime_ns, os.stat(f"{d}/f").st_mtime_ns))
    now = time.time_ns()
    fd = os.open(f"{d}/f", os.O_RDWR)
    os.utime(fd, ns=(-1_000_000_000, 1))
    results.append(os.fstat(fd).st_mtime_ns)
    os.pwrite(fd, b"y", 0)
    results.append(os.fstat(fd).st_mtime_ns > now - 10_000_000_000)
    before = os.fstat(fd).st_ctime_ns
    time.sleep(0.02)
    os.fchmod(fd, 0o600)
    results.append(os.fstat(fd).st_ctime_ns > before)
    os.close(fd)
    directory = os.stat(f"{d}/dir").st_mtime_ns
    put(f"{d}/dir/new")
    results.append(os.stat(f"{d}/dir").st_mtime_ns > directory)
    os.utime(f"{d}/f")
    results.append(os.stat(f"{d}/f").st_mtime_ns > now - 10_000_000_000)
    return results


def op_statvfs(d):
    s = os.statvfs(d)
    return s.f_bsize, s.f_frsize, s.f_blocks, s.f_namemax, s.f_files, s.f_bfree >= s.f_bavail


def op_locks(d):
    put(f"{d}/f", b"x" * 100)
    fd = os.open(f"{d}/f", os.O_RDWR)
    results = []

    def attempt(kind, flags, *where):
        other = os.open(f"{d}/f", os.O_RDWR)
        return outcome(kind, other, flags | fcntl.LOCK_NB, *where)

    for held in (fcntl.LOCK_SH, fcntl.LOCK_EX):
        fcntl.flock(fd, held)
        results += [as_user(0, 0, [], attempt, fcntl.flock, wanted) for wanted in (fcntl.LOCK_SH, fcntl.LOCK_EX)]
        fcntl.flock(fd, fcntl.LOCK_UN)
        fcntl.lockf(fd, held, 10, 5)
        results += [as_user(0, 0, [], attempt, fcntl.lockf, wanted, length, start)
                    for wanted in (fcntl.LOCK_SH, fcntl.LOCK_EX) for length, start in ((5, 0), (1, 7), (0, 14), (5, 15))]
        fcntl.lockf(fd, fcntl.LOCK_UN)
        results.append(as_user(0, 0, [], attempt, fcntl.lockf, fcntl.LOCK_EX))
    os.close(fd)
    return results


# ---- directories -------------------------------------------------------------------------------------------------


def op_readdir_while_it_changes(d):
    """What is there all the time is listed exactly once."""
    for number in range(5000):
        put(f"{d}/stay{number}")
    child = os.fork()
    if child == 0:
        for turn in range(4000):
            put(f"{d}/come{turn}")
            if turn >= 10:
                os.unlink(f"{d}/come{turn - 10}")
        os._exit(0)
    counts = []
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        names = [entry.name for entry in os.scandir(d) if entry.name.startswith("stay")]
        counts.append((len(names), len(set(names))))
    names = os.listdir(d)
    return set(counts) <= {(5000, 5000)}, len(names), len([1 for e in os.scandir(d) if e.is_file() and e.stat().st_size == 0])


def op_seekdir(d):
    for number in range(300):
        put(f"{d}/f{number}")
    stream = LIBC.opendir(os.fsencode(d))

    def next_name():
        entry = LIBC.readdir(stream)
        return ctypes.string_at(entry + 19) if entry else None

    marks = []
    while True:
        position = LIBC.telldir(stream)
        name = next_name()
        marks.append((position, name))
        if name is None:
            break
    right = []
    for position, name in marks[::-7]:
        LIBC.seekdir(stream, position)
        right.append(next_name() == name)
    LIBC.closedir(stream)
    return all(right), len(right), len(marks)


def op_remove_while_reading(d):
    for number in range(2000):
        put(f"{d}/f{number}")
    with os.scandir(d) as entries:
        for entry in entries:
            os.unlink(entry.path)
    return os.listdir(d)


def op_walk_copy_and_remove(d):
    for number in range(20):
        os.makedirs(f"{d}/src/a{number}/b/c")
        put(f"{d}/src/a{number}/b/file", b"%d" % number * 1000)
    subprocess.run(["cp", "-a", f"{d}/src", f"{d}/copy"], check=True)
    subprocess.run(["tar", "-C", d, "-cf", f"{d}/t.tar", "src"], check=True)
    os.mkdir(f"{d}/un")
    subprocess.run(["tar", "-C", f"{d}/un", "-xf", f"{d}/t.tar"], check=True)
    same = subprocess.run(["diff", "-r", f"{d}/copy", f"{d}/un/src"], check=False).returncode
    found = len(subprocess.run(["find", d], capture_output=True, check=True).stdout.splitlines())
    subprocess.run(["rm", "-r", f"{d}/src", f"{d}/copy", f"{d}/un"], check=True)
    return same, found, os.listdir(d)


def op_hard_links_in_tar(d):
    """Equal numbers are hard links, and only they."""
    os.mkdir(f"{d}/s")
    put(f"{d}/s/a", b"x" * 5000)
    os.link(f"{d}/s/a", f"{d}/s/b")
    put(f"{d}/s/c", b"y")
    subprocess.run(["cp", "-a", f"{d}/s", f"{d}/t"], check=True)
    return os.stat(f"{d}/t/a").st_nlink, os.stat(f"{d}/t/a").st_ino == os.stat(f"{d}/t/b").st_ino, tree(d)
