"""What the parity operations (posix_ops_*.py) are made of: calls with their outcome, other users, what can be seen."""

import ctypes
import errno
import hashlib
import os
import pickle
import stat

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.telldir.restype = ctypes.c_long
LIBC.telldir.argtypes = [ctypes.c_void_p]
LIBC.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
LIBC.opendir.restype = ctypes.c_void_p
LIBC.readdir.argtypes = [ctypes.c_void_p]
LIBC.readdir.restype = ctypes.c_void_p
LIBC.closedir.argtypes = [ctypes.c_void_p]
AT_FDCWD = -100
NOREPLACE, EXCHANGE = 1, 2
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16


def outcome(function, *args, **kwargs):
    """The result, or the name of the errno."""
    try:
        return function(*args, **kwargs)
    except OSError as error:
        return errno.errorcode[error.errno]


def check(result):
    """Turns the -1 of a ctypes call into an OSError."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def as_user(uid, gid, groups, function, *args):
    """Runs the function in a child with these ids and returns its result."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            result = outcome(function, *args)
        except BaseException as error:  # pylint: disable=broad-except
            result = f"failed: {error!r}"
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(result, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(data)


def put(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def get(path):
    with open(path, "rb") as file:
        return file.read()


def digest(data):
    return hashlib.sha1(data).hexdigest()


def facts(path, follow=False):
    """What stat says, without what differs between any two files."""
    s = os.stat(path, follow_symlinks=follow)
    size = 0 if stat.S_ISDIR(s.st_mode) else s.st_size
    return (oct(s.st_mode), s.st_uid, s.st_gid, 0 if stat.S_ISDIR(s.st_mode) else s.st_nlink, size, s.st_rdev)


def tree(directory):
    """Everything below a directory."""
    found = {}
    for root, directories, files in os.walk(directory):
        for name in directories + files:
            path = os.path.join(root, name)
            found[os.path.relpath(path, directory)] = facts(path)
    return found


def rename2(old, new, flags):
    check(LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def link_descriptor(fd, path):
    follow = 0x400
    check(LIBC.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, os.fsencode(path), follow))


def with_fd(path, function, flags=os.O_RDWR):
    fd = os.open(path, flags)
    try:
        return function(fd)
    finally:
        os.close(fd)


def put_at(path, data, offset):
    return with_fd(path, lambda fd: os.pwrite(fd, data, offset))
