"""Parity operations on what is removed or replaced while in use, on times, link counts and kinds of entries; see posix_ops.py."""

import ctypes
import os
import socket
import stat
import time

from posix_tools import (AT_FDCWD, as_user, check, EXCHANGE, get, KEEP_SIZE, LIBC, NOREPLACE, outcome, PUNCH_HOLE, put,
                         rename2, tree)

WHITEOUT = 4
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


# ---- removed or replaced while in use ----------------------------------------------------------------------------


def op_special_files_removed_while_open(d):
    """The kernel opens fifos by itself, so nobody tells the daemon that they are in use."""
    os.mkfifo(f"{d}/fifo", 0o640)
    os.mkfifo(f"{d}/other")
    reader = os.open(f"{d}/fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(f"{d}/fifo", os.O_WRONLY)
    path_only = os.open(f"{d}/fifo", os.O_PATH)
    replaced = os.open(f"{d}/other", os.O_RDWR | os.O_NONBLOCK)
    os.unlink(f"{d}/fifo")
    put(f"{d}/file")
    os.rename(f"{d}/file", f"{d}/other")
    os.write(writer, b"still")
    results = [os.read(reader, 10), os.fstat(reader).st_nlink, oct(os.fstat(writer).st_mode), outcome(os.fchmod, reader, 0o600),
               oct(os.fstat(path_only).st_mode), outcome(os.fchown, writer, 1000, 1000), os.fstat(reader).st_uid,
               os.fstat(replaced).st_nlink]
    for fd in (reader, writer, path_only, replaced):
        os.close(fd)
    return results, tree(d)


def op_replaced_working_directory(d):
    """A rename over an empty directory removes it as rmdir does."""
    results = []
    here = os.getcwd()
    for how in ("rename", "rmdir"):
        os.mkdir(f"{d}/gone")
        os.mkdir(f"{d}/new")
        os.chdir(f"{d}/gone")
        fd = os.open(".", os.O_RDONLY)
        path_only = os.open(".", os.O_PATH)
        try:
            outcome(os.rename, f"{d}/new", f"{d}/gone") if how == "rename" else os.rmdir(f"{d}/gone")
            results += [outcome(put, "x"), outcome(os.mkdir, "y"), outcome(os.stat, "z"), outcome(os.listdir, "."),
                        os.stat(".").st_nlink, os.fstat(fd).st_nlink, os.fstat(path_only).st_nlink, outcome(os.listdir, fd),
                        outcome(os.getcwd), outcome(os.open, "x", os.O_CREAT | os.O_WRONLY),
                        outcome(os.symlink, "t", "s"), outcome(os.rename, f"{d}/new", "here")]
        finally:
            os.chdir(here)
        os.close(fd)
        os.close(path_only)
        outcome(os.rmdir, f"{d}/gone")
        outcome(os.rmdir, f"{d}/new")
    return results, tree(d)


def op_rename_without_replacing(d):
    """Open files go on with what they have opened."""
    for name in ("a", "b"):
        os.makedirs(f"{d}/{name}/inner")
        put(f"{d}/{name}/file", name.encode() * 3)
    fds = [os.open(f"{d}/{name}/file", os.O_RDWR) for name in ("a", "b")]
    results = [outcome(rename2, f"{d}/a/file", f"{d}/b/file", NOREPLACE), get(f"{d}/a/file"), get(f"{d}/b/file"),
               outcome(rename2, f"{d}/a/file", f"{d}/b/inner", NOREPLACE), tree(d),
               outcome(rename2, f"{d}/a/inner", f"{d}/b/file", NOREPLACE), outcome(rename2, f"{d}/b/file", f"{d}/a/new", NOREPLACE)]
    for fd in fds:
        os.pwrite(fd, b"!", 3)
        results.append(os.pread(fd, 10, 0))
        os.close(fd)
    return results, tree(d)


def op_rename_whiteout(d):
    """What overlayfs does: a character device 0/0 stays where the name was."""
    put(f"{d}/f", b"x")
    os.mkdir(f"{d}/dir")
    return (outcome(rename2, f"{d}/f", f"{d}/dir/f", WHITEOUT), outcome(rename2, f"{d}/dir", f"{d}/d2", WHITEOUT | EXCHANGE),
            outcome(rename2, f"{d}/missing", f"{d}/m", WHITEOUT), tree(d))


def op_reopened_descriptors(d):
    """By way of /proc: with other flags, after the name has gone, and a name again."""
    put(f"{d}/f", b"content")
    fd = os.open(f"{d}/f", os.O_RDONLY)
    path_only = os.open(f"{d}/f", os.O_PATH)
    results = [outcome(os.read, path_only, 1), outcome(os.fchmod, path_only, 0o600), outcome(os.setxattr, path_only, "user.a", b"")]
    again = os.open(f"/proc/self/fd/{path_only}", os.O_RDWR)
    os.pwrite(again, b"C", 0)
    os.unlink(f"{d}/f")
    results += [os.pread(fd, 20, 0), os.fstat(path_only).st_nlink,
                outcome(os.link, f"/proc/self/fd/{fd}", f"{d}/back", follow_symlinks=True)]
    third = os.open(f"/proc/self/fd/{again}", os.O_WRONLY | os.O_TRUNC)
    results += [os.fstat(fd).st_size, os.write(third, b"new"), os.pread(fd, 20, 0)]
    for one in (fd, path_only, again, third):
        os.close(one)
    return results, tree(d)


# ---- times and counts --------------------------------------------------------------------------------------------


def op_what_moves_which_time(d):
    """Which of mtime and ctime, of the file and of its directory, a call moves."""
    path, directory = f"{d}/dir/f", f"{d}/dir"
    os.mkdir(directory)
    put(path, b"x")
    os.mkdir(f"{d}/elsewhere")
    fd = os.open(path, os.O_RDWR)
    actions = {
        "write": lambda: os.pwrite(fd, b"y", 0), "truncate": lambda: os.ftruncate(fd, 5), "same size": lambda: os.ftruncate(fd, 5),
        "fallocate": lambda: os.posix_fallocate(fd, 0, 10000), "chmod": lambda: os.chmod(path, 0o600),
        "chown": lambda: os.chown(path, 1, 1), "chown of nothing": lambda: os.chown(path, -1, -1),
        "setxattr": lambda: os.setxattr(path, "user.a", b"b"), "utime": lambda: os.utime(path, ns=(1, 1)),
        "link": lambda: os.link(path, f"{directory}/hard"), "unlink of the link": lambda: os.unlink(f"{directory}/hard"),
        "create": lambda: put(f"{directory}/new"), "rename": lambda: os.rename(path, f"{path}2"),
        "rename back": lambda: os.rename(f"{path}2", path), "mkdir": lambda: os.mkdir(f"{directory}/sub"),
        "move away": lambda: os.rename(f"{directory}/new", f"{d}/elsewhere/new"), "read": lambda: os.pread(fd, 1, 0),
        "open for writing": lambda: os.close(os.open(path, os.O_WRONLY)),
        "open and truncate": lambda: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)),
    }
    results = []
    for name, action in actions.items():
        before = os.fstat(fd), os.stat(directory)
        time.sleep(0.012)  # time stamps are as coarse as the kernel's tick
        action()
        after = os.fstat(fd), os.stat(directory)
        results.append((name, [(a.st_mtime_ns != b.st_mtime_ns, a.st_ctime_ns > b.st_ctime_ns) for b, a in zip(before, after)]))
    os.close(fd)
    return results


def op_utimensat(d):
    """Now, omit and explicit times, by the owner and by others who may write."""
    class Timespec(ctypes.Structure):
        _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

    def set_times(path, access, modification, flags=0):
        check(LIBC.utimensat(AT_FDCWD, os.fsencode(path), (Timespec * 2)(access, modification), flags))

    now, omit = (0, UTIME_NOW), (0, UTIME_OMIT)
    start, results = time.time_ns() - 10**9, []
    os.chmod(d, 0o777)
    for uid in (0, 1000, 1001):
        for number, (access, modification) in enumerate(
                ((now, now), (omit, now), (now, omit), (omit, omit), ((5, 6), (7, 8)), (omit, (7, 8)), ((5, 6), now),
                 ((0, 10**9), (0, 0)), ((-5, 1), (2**33, 999999999)))):
            path = f"{d}/f{uid}.{number}"
            put(path, b"", 0o666)
            os.chmod(path, 0o666)
            os.chown(path, 1000, 1000)
            os.utime(path, ns=(1000, 2000))
            result = as_user(uid, uid, [], set_times, path, Timespec(*access), Timespec(*modification))
            seen = [ns if ns < start or ns > start + 10**12 else "now" for ns in (os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns)]
            results.append((uid, number, result, seen))
    os.symlink("nowhere", f"{d}/s")
    set_times(f"{d}/s", Timespec(3, 4), Timespec(5, 6), 0x100)
    results.append((os.lstat(f"{d}/s").st_atime_ns, os.lstat(f"{d}/s").st_mtime_ns))
    return results


def op_link_counts_of_directories(d):
    results = [os.stat(d).st_nlink]
    for number in range(3):
        os.mkdir(f"{d}/d{number}")
        results.append(os.stat(d).st_nlink)
    os.rename(f"{d}/d0", f"{d}/d1/moved")
    results += [os.stat(d).st_nlink, os.stat(f"{d}/d1").st_nlink]
    os.rmdir(f"{d}/d2")
    return [*results, os.stat(d).st_nlink]


def op_blocks(d):
    """st_blocks is the disk's, before and after it has been written out."""
    fd = os.open(f"{d}/f", os.O_RDWR | os.O_CREAT)
    results = []
    for action in (lambda: os.pwrite(fd, b"x" * 65536, 0), lambda: os.pwrite(fd, b"y", 1 << 20), lambda: os.posix_fallocate(fd, 0, 1 << 19),
                   lambda: check(LIBC.fallocate(fd, PUNCH_HOLE | KEEP_SIZE, ctypes.c_long(8192), ctypes.c_long(16384))),
                   lambda: os.ftruncate(fd, 10000), lambda: os.ftruncate(fd, 0)):
        action()
        os.fsync(fd)
        s = os.fstat(fd)
        results.append((s.st_size, s.st_blocks, os.stat(f"{d}/f").st_blocks, s.st_blksize))
    os.close(fd)
    return results


# ---- names and kinds ---------------------------------------------------------------------------------------------


def op_kinds_in_listings(d):
    put(f"{d}/file")
    os.mkdir(f"{d}/dir")
    os.symlink("file", f"{d}/symlink")
    os.mkfifo(f"{d}/fifo")
    os.mknod(f"{d}/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    here = os.getcwd()
    os.chdir(d)
    try:
        socket.socket(socket.AF_UNIX).bind("socket")
    finally:
        os.chdir(here)
    results = []
    for _ in range(2):
        with os.scandir(d) as entries:
            results.append(sorted((e.name, e.is_dir(), e.is_file(follow_symlinks=False), e.is_symlink(),
                                   e.inode() == e.stat(follow_symlinks=False).st_ino) for e in entries))
    return results


def op_chains_of_symlinks(d):
    put(f"{d}/0", b"end")
    for number in range(1, 45):
        os.symlink(str(number - 1), f"{d}/{number}")
    os.symlink(d, f"{d}/self")
    return ([outcome(get, f"{d}/{number}") for number in (1, 20, 39, 40, 41, 44)], outcome(get, f"{d}/" + "self/" * 30 + "0"),
            outcome(get, f"{d}/" + "self/" * 41 + "0"), outcome(os.open, f"{d}/1", os.O_CREAT | os.O_EXCL | os.O_WRONLY),
            outcome(os.mkdir, f"{d}/self"), outcome(os.unlink, f"{d}/self"))


def op_attribute_sizes(d):
    put(f"{d}/f")
    results = [outcome(os.setxattr, f"{d}/f", "user.size", b"v" * size) for size in (1, 1000, 3000)]
    for number in range(200):
        result = outcome(os.setxattr, f"{d}/f", f"user.number{number}", b"x" * 100)
        if result is not None:
            results.append(result)
            break
    names = os.listxattr(f"{d}/f")
    buffer = ctypes.create_string_buffer(10)
    ctypes.set_errno(0)
    results += [LIBC.getxattr(os.fsencode(f"{d}/f"), b"user.size", None, 0), LIBC.getxattr(os.fsencode(f"{d}/f"), b"user.size", buffer, 10),
                ctypes.get_errno(), LIBC.listxattr(os.fsencode(f"{d}/f"), None, 0), LIBC.listxattr(os.fsencode(f"{d}/f"), buffer, 10)]
    return results, sorted(names)


def op_access(d):
    for mode in (0o000, 0o100, 0o444, 0o711, 0o755, 0o060):
        put(f"{d}/f{mode:o}", b"", mode)
        os.chmod(f"{d}/f{mode:o}", mode)
        os.mkdir(f"{d}/d{mode:o}", mode)

    def ask():
        return [(name, [os.access(f"{d}/{name}", kind) for kind in (os.F_OK, os.R_OK, os.W_OK, os.X_OK)])
                for name in sorted(os.listdir(d))]

    os.chmod(d, 0o755)
    return ask(), as_user(1000, 1000, [], ask), as_user(1000, 0, [], ask), tree(d)
