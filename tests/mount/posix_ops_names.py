"""Parity operations on owners, modes, names and directory entries; see posix_ops.py."""

import os
import socket
import stat

from posix_tools import (as_user, EXCHANGE, facts, get, NOREPLACE, outcome, put, put_at, rename2, tree, with_fd)


# ---- creation and ownership --------------------------------------------------------------------------------------


def op_create_modes_and_umask(d):
    for umask in (0o000, 0o022, 0o077, 0o027):
        old = os.umask(umask)
        for mode in (0o666, 0o644, 0o600, 0o777, 0o400, 0o000, 0o4755, 0o2755, 0o1777):
            os.close(os.open(f"{d}/f{umask:o}.{mode:o}", os.O_CREAT | os.O_WRONLY, mode))
            os.mkdir(f"{d}/d{umask:o}.{mode:o}", mode)
            os.mkfifo(f"{d}/p{umask:o}.{mode:o}", mode)
        os.umask(old)
    return tree(d)


def op_setgid_directories(d):
    os.chown(d, 0, 1234)
    os.chmod(d, 0o2777)
    put(f"{d}/root-file")
    os.mkdir(f"{d}/root-dir")

    def create():
        os.umask(0o022)
        put(f"{d}/user-file")
        os.close(os.open(f"{d}/user-sgid", os.O_CREAT | os.O_WRONLY, 0o2775))
        os.mkdir(f"{d}/user-dir")
        put(f"{d}/user-dir/inner")

    def create_in_group():
        os.close(os.open(f"{d}/member-sgid", os.O_CREAT | os.O_WRONLY, 0o2775))

    return as_user(1000, 1000, [], create), as_user(1001, 1001, [1234], create_in_group), tree(d)


def op_ownership_by_the_caller(d):
    os.chmod(d, 0o777)

    def create():
        os.umask(0o022)
        put(f"{d}/file", b"abc")
        os.mkdir(f"{d}/dir")
        os.symlink("file", f"{d}/symlink")
        os.mkfifo(f"{d}/fifo")
        server = socket.socket(socket.AF_UNIX)
        os.chdir(d)
        server.bind("socket")
        return outcome(os.mknod, f"{d}/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))

    return as_user(1000, 1001, [2000], create), tree(d)


def op_supplementary_groups(d):
    for group, mode in ((2000, 0o770), (3000, 0o770), (2000, 0o570)):
        path = f"{d}/g{group}.{mode:o}"
        os.mkdir(path)
        os.chown(path, 0, group)
        os.chmod(path, mode)
    put(f"{d}/readable", b"x", 0o640)
    os.chown(f"{d}/readable", 0, 2000)
    os.chmod(d, 0o755)

    def attempt():
        return [outcome(put, f"{d}/{name}/new") for name in sorted(os.listdir(d)) if name.startswith("g")] + [
            outcome(get, f"{d}/readable"), outcome(put, f"{d}/readable", b"y")]

    return as_user(1000, 1000, [2000], attempt), as_user(1000, 1000, [], attempt), tree(d)


def op_permission_denied(d):
    os.chmod(d, 0o755)
    put(f"{d}/private", b"x", 0o600)
    put(f"{d}/mine", b"x", 0o644)
    os.chown(f"{d}/mine", 1000, 1000)
    os.mkdir(f"{d}/closed", 0o700)
    put(f"{d}/closed/inner")
    os.mkdir(f"{d}/sticky")
    os.chmod(f"{d}/sticky", 0o1777)
    put(f"{d}/sticky/other")

    def attempt():
        return [
            outcome(get, f"{d}/private"), outcome(put, f"{d}/new"), outcome(os.mkdir, f"{d}/newdir"),
            outcome(os.unlink, f"{d}/mine"), outcome(os.rename, f"{d}/mine", f"{d}/mine2"),
            outcome(os.chmod, f"{d}/private", 0o666), outcome(os.chown, f"{d}/mine", 1001, -1),
            outcome(os.chown, f"{d}/mine", -1, 2000), outcome(os.chown, f"{d}/mine", -1, 3000),
            outcome(os.chmod, f"{d}/mine", 0o2777), outcome(os.stat, f"{d}/closed/inner"),
            outcome(os.listdir, f"{d}/closed"), outcome(os.unlink, f"{d}/sticky/other"),
            outcome(os.truncate, f"{d}/private", 0), outcome(os.utime, f"{d}/private"),
            outcome(os.link, f"{d}/private", f"{d}/sticky/hard"), os.access(f"{d}/private", os.R_OK),
            os.access(f"{d}/mine", os.W_OK), outcome(os.setxattr, f"{d}/private", "user.a", b"b"),
        ]

    return as_user(1000, 1000, [2000], attempt), tree(d)


def op_setuid_bits_are_cleared(d):
    """By a write, a truncate or a chown; not by a write of root."""
    results = []
    os.chmod(d, 0o777)
    actions = {
        "write": lambda p: put_at(p, b"xy", 0), "truncate": lambda p: os.truncate(p, 1),
        "open_trunc": lambda p: os.close(os.open(p, os.O_WRONLY | os.O_TRUNC)),
        "fallocate": lambda p: with_fd(p, lambda fd: os.posix_fallocate(fd, 0, 10)),
    }
    for name, action in actions.items():
        for uid in (0, 1000):
            path = f"{d}/{name}.{uid}"
            put(path, b"abc")
            os.chmod(path, 0o6777)
            results.append((name, uid, as_user(uid, uid, [], action, path), facts(path)))
    put(f"{d}/chown", b"abc")
    os.chmod(f"{d}/chown", 0o6777)
    os.chown(f"{d}/chown", 1000, 1000)
    return results, facts(f"{d}/chown")



# ---- names -------------------------------------------------------------------------------------------------------


def op_links(d):
    put(f"{d}/a", b"data")
    before = os.stat(f"{d}/a").st_nlink
    os.link(f"{d}/a", f"{d}/b")
    same = os.stat(f"{d}/a").st_ino == os.stat(f"{d}/b").st_ino
    counts = os.stat(f"{d}/a").st_nlink, os.stat(f"{d}/b").st_nlink
    os.symlink("a", f"{d}/s")
    os.symlink("missing", f"{d}/dangling")
    os.symlink("x" * 4000, f"{d}/long")
    os.link(f"{d}/s", f"{d}/hard-symlink", follow_symlinks=False)
    os.mkdir(f"{d}/dir")
    errors = [
        outcome(os.link, f"{d}/a", f"{d}/b"), outcome(os.link, f"{d}/dir", f"{d}/dir2"),
        outcome(os.symlink, "a", f"{d}/s"), outcome(os.readlink, f"{d}/a"), outcome(os.readlink, f"{d}/s"),
        outcome(os.readlink, f"{d}/long"), outcome(get, f"{d}/dangling"), outcome(get, f"{d}/s"),
        outcome(os.symlink, "x" * 5000, f"{d}/longer"), outcome(os.symlink, "", f"{d}/empty"),
    ]
    os.unlink(f"{d}/a")
    return before, same, counts, errors, os.stat(f"{d}/b").st_nlink, get(f"{d}/b"), tree(d)


def op_rename_variants(d):
    def fresh(name):
        path = f"{d}/{name}"
        os.makedirs(f"{path}/full/inner")
        os.makedirs(f"{path}/empty")
        put(f"{path}/f1", b"one")
        put(f"{path}/f2", b"two!")
        os.symlink("f1", f"{path}/s")
        return path

    cases = [("f1", "f2"), ("f1", "new"), ("f1", "f1"), ("f1", "empty"), ("empty", "f1"), ("full", "empty"),
             ("empty", "full"), ("full", "full/inner/below"), ("missing", "new"), ("s", "f2"), ("f1", "missing/new"),
             ("f1", "f2/new"), ("full/inner", "moved"), ("f1", "full/inner/f1"), ("full", "n" * 256)]
    results = []
    for flags in (0, NOREPLACE, NOREPLACE | EXCHANGE, 64):  # EXCHANGE alone: test_native.py
        for number, (old, new) in enumerate(cases):
            path = fresh(f"r{flags}.{number}")
            result = outcome(rename2, f"{path}/{old}", f"{path}/{new}", flags)
            results.append((flags, old, new[:20], result))
    return results, tree(d)


def op_rename_over_open_file(d):
    put(f"{d}/old", b"old content")
    put(f"{d}/new", b"new content")
    fd = os.open(f"{d}/old", os.O_RDWR)
    os.rename(f"{d}/new", f"{d}/old")
    before = os.pread(fd, 100, 0)
    os.pwrite(fd, b"OLD", 0)
    result = before, os.pread(fd, 100, 0), get(f"{d}/old"), os.fstat(fd).st_nlink
    os.close(fd)
    return result


def op_rename_an_open_file(d):
    fd = os.open(f"{d}/tmp", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"first ")
    os.mkdir(f"{d}/sub")
    os.rename(f"{d}/tmp", f"{d}/sub/final")
    os.write(fd, b"second")
    size = os.fstat(fd).st_size
    os.close(fd)
    return size, get(f"{d}/sub/final"), tree(d)


def op_error_names(d):
    put(f"{d}/file")
    os.mkdir(f"{d}/dir")
    os.mkdir(f"{d}/dir/inner")
    os.symlink("loop2", f"{d}/loop1")
    os.symlink("loop1", f"{d}/loop2")
    os.symlink("dir", f"{d}/to-dir")
    return [
        outcome(os.rmdir, f"{d}/dir"), outcome(os.rmdir, f"{d}/file"), outcome(os.unlink, f"{d}/dir"),
        outcome(os.rmdir, f"{d}/dir/."), outcome(os.rmdir, f"{d}/missing"), outcome(os.mkdir, f"{d}/dir"),
        outcome(os.mkdir, f"{d}/file/x"), outcome(os.mkdir, f"{d}/missing/x"), outcome(os.stat, f"{d}/file/x"),
        outcome(get, f"{d}/loop1"), outcome(os.stat, f"{d}/loop1/x"), outcome(os.listdir, f"{d}/file"),
        outcome(os.open, f"{d}/file", os.O_CREAT | os.O_EXCL), outcome(os.open, f"{d}/dir", os.O_WRONLY),
        outcome(os.open, f"{d}/dir", os.O_CREAT | os.O_RDWR), outcome(os.open, f"{d}/file", os.O_DIRECTORY),
        outcome(os.open, f"{d}/to-dir", os.O_NOFOLLOW), outcome(os.open, f"{d}/missing", os.O_RDONLY),
        outcome(os.open, f"{d}/missing/x", os.O_CREAT), outcome(os.truncate, f"{d}/dir", 0),
        outcome(os.truncate, f"{d}/file", -1), outcome(os.unlink, f"{d}/file/"), outcome(os.removexattr, f"{d}/file", "user.x"),
        outcome(os.mknod, f"{d}/file", stat.S_IFREG), tree(d),
    ]


def op_long_names(d):
    name = "n" * 255
    wide = "ä" * 127 + "x"
    results = [outcome(put, f"{d}/{name}", b"x"), outcome(put, f"{d}/{name}y"), outcome(put, f"{d}/{wide}"),
               outcome(os.mkdir, f"{d}/{'m' * 256}"), outcome(os.rename, f"{d}/{name}", f"{d}/{'r' * 255}"),
               outcome(os.stat, f"{d}/{'z' * 256}"), outcome(os.stat, d + "/a" * 3000),
               outcome(put, f"{d}/new\nline and \\ and \x01"), outcome(os.symlink, "t", f"{d}/{'s' * 256}")]
    return results, sorted(os.listdir(d))


def op_special_files(d):
    os.mkfifo(f"{d}/fifo")
    reader = os.open(f"{d}/fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(f"{d}/fifo", os.O_WRONLY)
    os.write(writer, b"through")
    got = os.read(reader, 100)
    os.close(reader)
    os.close(writer)
    os.mknod(f"{d}/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(f"{d}/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.mknod(f"{d}/block", stat.S_IFBLK | 0o600, os.makedev(240, 77))
    os.mknod(f"{d}/plain", stat.S_IFREG | 0o640)
    here = os.getcwd()
    os.chdir(d)
    try:
        server = socket.socket(socket.AF_UNIX)
        server.bind("socket")
        server.listen()
        client = socket.socket(socket.AF_UNIX)
        client.connect("socket")
        client.send(b"hello")
        peer, _ = server.accept()
        heard = peer.recv(10)
        for end in (peer, client, server):
            end.close()
    finally:
        os.chdir(here)
    errors = [outcome(os.open, f"{d}/fifo", os.O_WRONLY | os.O_NONBLOCK), outcome(os.open, f"{d}/socket", os.O_RDONLY),
              outcome(os.open, f"{d}/block", os.O_RDONLY), outcome(put_at, f"{d}/null", b"x", 0),
              outcome(with_fd, f"{d}/zero", lambda fd: os.read(fd, 3))]
    return got, heard, errors, tree(d)


# ---- contents ----------------------------------------------------------------------------------------------------


def op_unlink_while_open(d):
    fd = os.open(f"{d}/f", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"0123456789")
    os.unlink(f"{d}/f")
    results = [os.fstat(fd).st_nlink, os.fstat(fd).st_size, os.pread(fd, 20, 0)]
    os.ftruncate(fd, 5)
    os.fchmod(fd, 0o600)
    os.fchown(fd, 1000, 1000)
    os.setxattr(fd, "user.late", b"yes")
    os.utime(fd, ns=(1_000_000_001, 2_000_000_002))
    results += [os.getxattr(fd, "user.late"), os.listxattr(fd), os.fstat(fd).st_mtime_ns]
    os.pwrite(fd, b"xyz", 4)
    results += [os.pread(fd, 20, 0), os.fstat(fd).st_mode, os.fstat(fd).st_uid, os.fstat(fd).st_size]
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    results += [os.read(again, 20), os.fstatvfs(fd).f_bsize, outcome(os.fsync, fd)]
    os.close(again)
    put(f"{d}/f", b"another")
    results += [os.pread(fd, 20, 0), get(f"{d}/f"), os.fstat(fd).st_ino != os.stat(f"{d}/f").st_ino]
    os.close(fd)
    return results, tree(d)
