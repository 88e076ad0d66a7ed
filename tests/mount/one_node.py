"""One real node for the tests of the virtual half of the mount, and what they all need.

Needs root and /dev/fuse. SHUFFLEFS_BUILD is the directory with the program.
"""

import errno
import os
import shutil
import subprocess
import tempfile
import unittest

from shuffle_cluster import PROGRAM, end, index_of, until  # index_of and PROGRAM: also for the tests

SHORT = 30  # seconds that anything may take
ADDRESS = os.environ.get("SHUFFLEFS_TEST_ADDRESS", "127.0.0.21")


class Daemon:
    """One node with its mount."""

    def __init__(self, *flags):
        self.flags = flags
        self.directory = tempfile.mkdtemp(prefix="shufflefs-namespace-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.mount = f"{self.directory}/mnt"
        self.data = f"{self.directory}/data"
        os.mkdir(self.mount)
        self.log_path = f"{self.directory}/log"
        self.start()

    def command(self, *more):
        return [PROGRAM, "serve", "--node", "n1", "--mount", self.mount, "--data", self.data,
                "--peer-listen", f"{ADDRESS}:7338", "--members", f"n1={ADDRESS}:7338",
                "--http-listen", f"{ADDRESS}:7340", "--spark-listen", f"{ADDRESS}:7337", *self.flags, *more]

    def start(self):
        served = self.log().count("serve.ready") if os.path.exists(self.log_path) else 0
        with open(self.log_path, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        try:
            until(lambda: self.process.poll() is not None or self.log().count("serve.ready") > served,
                  "the daemon is ready")
        except AssertionError:
            self.stop()
            raise
        if self.process.poll() is not None:
            log = self.log()
            self.stop()
            raise RuntimeError(log)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def worker(self):
        """The pid of the process that does the work; None while there is none."""
        done = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return int(done.stdout) if done.stdout.strip() else None

    def stop(self):
        end(self.process, SHORT)
        while os.path.ismount(self.mount):
            subprocess.run(["umount", "-l", self.mount], check=True)
        if os.path.isdir(self.mount):
            os.chmod(self.mount, 0o700)
        shutil.rmtree(self.directory, ignore_errors=True)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=SHORT * 2, check=False)


def run_bytes(*command):
    """As run(), for output that may not be text."""
    return subprocess.run(command, capture_output=True, timeout=SHORT * 2, check=False)


class NamespaceCase(unittest.TestCase):
    """Each test has a shuffle of its own; all share one daemon."""

    number = 0
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(*cls.flags)
        cls.mount = cls.daemon.mount

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()

    def setUp(self):
        NamespaceCase.number += 1
        self.app = f"app-{NamespaceCase.number}"
        self.shuffle = f"{self.mount}/shuffles/{self.app}/0"
        self.maps = f"{self.shuffle}/maps"
        self.partitions = f"{self.shuffle}/partitions"
        os.makedirs(self.shuffle)

    def refused(self, error, call, *arguments):
        with self.assertRaises(OSError) as caught:
            call(*arguments)
        self.assertEqual(errno.errorcode[caught.exception.errno], errno.errorcode[error])

    def temporary(self, name, blocks):
        os.mkdir(f"{self.maps}/{name}")
        for partition, block in blocks.items():
            write(f"{self.maps}/{name}/{partition}", block)
        return f"{self.maps}/{name}"

    def commit(self, map_id, blocks):
        os.rename(self.temporary(f".tmp-{map_id}", blocks), f"{self.maps}/{map_id}")

    def attribute(self, path, name):
        return os.getxattr(path, f"user.shufflefs.{name}").decode()

    def status(self):
        return read(f"{self.shuffle}/status").decode()
