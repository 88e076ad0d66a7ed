"""What must not grow with use (descriptors, memory), and limits that are the disk's (quota, 100,000 entries, many files).
Needs root.

The full count of rounds:  SHUFFLEFS_ROUNDS=1000000 python3 test_limits.py TestRounds   (some ten minutes)
"""

import ctypes
import errno
import os
import re
import shutil
import struct
import subprocess
import time
import unittest

from mounted import NativeMount, WorkDirectory
from one_node import Daemon, until
from posix_tools import as_user, check, LIBC

MEMORY = "/dev/shm"
SANITIZED = os.path.basename(os.environ.get("SHUFFLEFS_BUILD", "build")) in ("asan", "tsan")  # slow, and keep what has been freed
ROUNDS = int(os.environ.get("SHUFFLEFS_ROUNDS", "3000" if SANITIZED else "15000"))
FILES, DIRECTORIES = 20_000 if SANITIZED else 200_000, 200


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


def metric(mount, name):
    with open(f"{mount}/.shufflefs/metrics", encoding="utf-8") as metrics:
        return float(re.search(rf"^{name} (\S+)$", metrics.read(), re.MULTILINE)[1])


def make_files(directory, count):
    os.makedirs(directory, exist_ok=True)
    root = os.open(directory, os.O_RDONLY)
    for number in range(count):
        os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=root))
    os.close(root)


class TestWalk(unittest.TestCase):
    """200,000 files that are seen once."""

    def setUp(self):
        self.work = WorkDirectory(MEMORY)
        self.addCleanup(self.work.remove)
        self.node = NativeMount(self.work.path, ("--cache-seconds", "3600"))
        self.addCleanup(self.node.stop)
        self.node.start()

    def walk(self):
        # -size makes find ask for the attributes of each
        found = subprocess.run(["find", f"{self.node.disk()}/many", "-type", "f", "-size", "0"], capture_output=True, check=True)
        return found.stdout.count(b"\n")

    def test_costs_no_descriptors_and_is_forgotten(self):
        for number in range(DIRECTORIES):
            make_files(f"{self.node.backing()}/many/d{number}", FILES // DIRECTORIES)
        pid = self.node.process.pid
        descriptors, before = self.node.descriptors(), resident_kib(pid)
        self.assertEqual(self.walk(), FILES)
        self.assertLess(self.node.descriptors() - descriptors, 40)
        self.assertGreaterEqual(self.node.counters()["shufflefs_known_inodes"], FILES)
        after = resident_kib(pid)
        if not SANITIZED:
            self.assertLess((after - before) * 1024 / FILES, 500, "bytes of memory for an inode that the kernel knows")
        self.assertEqual(self.walk(), FILES)
        self.assertLess(resident_kib(pid), after * 1.1 + 1024, "a second walk costs nothing more")
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as drop:
            drop.write("2")
        until(lambda: self.node.counters()["shufflefs_known_inodes"] < FILES / 100, "the kernel's FORGETs are done")


class TestRounds(unittest.TestCase):
    """Create, rename and unlink, over and over, of plain files and of what looks like Spark's map outputs, in a whole daemon."""

    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.stop)
        self.directory = f"{self.daemon.mount}/local/disk0/rounds"
        os.mkdir(self.directory)

    def rounds(self, count, first):
        for number in range(first, first + count):
            name = f"shuffle_0_{number}_0.data" if number % 4 == 0 else f"name{number}"
            temporary = f"{self.directory}/tmp{number}"
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o644))
            os.rename(temporary, f"{self.directory}/{name}")
            os.unlink(f"{self.directory}/{name}")

    def test_memory_and_descriptors_are_flat(self):
        pid = self.daemon.worker()
        self.rounds(ROUNDS // 6, 0)  # pools and tables get their size
        sizes, descriptors = [resident_kib(pid)], len(os.listdir(f"/proc/{pid}/fd"))
        for half in (1, 2):
            self.rounds(ROUNDS // 2, half * ROUNDS)
            sizes.append(resident_kib(pid))
        print(f"\nresident KiB before, after {ROUNDS // 2} and {ROUNDS} rounds: {sizes}", flush=True)
        if not SANITIZED:
            self.assertLess(sizes[2] - sizes[1], 1024 + sizes[1] // 50)
        until(lambda: metric(self.daemon.mount, "shufflefs_known_inodes") < 100, "what was unlinked is forgotten")
        until(lambda: metric(self.daemon.mount, "shufflefs_open_files") < 10, "what was closed is gone")
        self.assertLess(len(os.listdir(f"/proc/{pid}/fd")) - descriptors, 20)


class TestLargeDirectory(unittest.TestCase):
    """100,000 entries, read while others come and go."""

    def test_nothing_that_stays_is_missed_or_doubled(self):
        work = WorkDirectory(MEMORY)
        self.addCleanup(work.remove)
        for arguments in ((), ("--cache-seconds", "0")):
            with self.subTest(arguments):
                node = NativeMount(work.path, arguments)
                self.addCleanup(node.stop)
                node.start()
                shutil.rmtree(f"{node.backing()}/large", ignore_errors=True)
                make_files(f"{node.backing()}/large", 100_000)
                self.read_while_it_changes(f"{node.disk()}/large")
                node.stop()

    def read_while_it_changes(self, directory):
        child = os.fork()
        if child == 0:
            try:
                for turn in range(1_000_000):  # until killed
                    os.close(os.open(f"{directory}/come{turn}", os.O_CREAT | os.O_WRONLY))
                    if turn >= 50:
                        os.unlink(f"{directory}/come{turn - 50}")
                    if turn == 60:
                        os.close(os.open(f"{directory}/at-work", os.O_CREAT | os.O_WRONLY))
            finally:
                os._exit(1)
        try:
            until(lambda: os.path.exists(f"{directory}/at-work"), "the other process is at work")
            for _ in range(3):
                names = [entry.name for entry in os.scandir(directory) if entry.name.startswith("f")]
                self.assertEqual((len(names), len(set(names))), (100_000, 100_000))
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)


class TestQuota(unittest.TestCase):
    """A quota of the disk is one of the mount: EDQUOT at the same place."""

    USER, LIMIT_KIB = 1000, 8192

    def setUp(self):
        self.work = WorkDirectory()
        self.addCleanup(self.work.remove)
        self.disk = self.work.sub("disk")

    def made(self, megabytes, make, options):
        """Whether a file system of that size could be made and mounted."""
        image = f"{self.work.path}/image"
        with open(image, "wb") as file:
            file.truncate(megabytes << 20)
        return all(subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
                   for command in ([*make, image], ["mount", "-o", options, image, self.disk]))

    def limit_user(self):
        """Q_SETQUOTA of struct if_dqblk: hard and soft limit of blocks (KiB), usage, of inodes, times, what is valid."""
        set_quota, user_quota, valid_limits = 0x800008, 0, 5
        wanted = struct.pack("8QI4x", self.LIMIT_KIB, self.LIMIT_KIB, 0, 0, 0, 0, 0, 0, valid_limits)
        with open("/proc/self/mountinfo", encoding="ascii") as table:
            device = next(line.split(" - ")[1].split()[1] for line in table if line.split()[4] == self.disk)
        check(LIBC.quotactl(ctypes.c_uint(set_quota << 8 | user_quota), device.encode(), self.USER, wanted))

    @staticmethod
    def fill(path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        written = 0
        try:
            while True:
                written += os.write(fd, b"x" * 16384)
                if written % (1 << 20) == 0:
                    os.fsync(fd)  # btrfs counts when it writes
        except OSError as error:
            return errno.errorcode[error.errno], written
        finally:
            os.close(fd)

    def same_on_both(self):
        for arguments in ((), ("--no-passthrough",)):
            with self.subTest(arguments):
                node = NativeMount(self.work.path, arguments, [f"{self.disk}/data"])
                self.addCleanup(node.stop)
                node.start()
                results = []
                for directory in (self.disk, node.disk()):
                    os.chmod(directory, 0o777)
                    results.append(as_user(self.USER, self.USER, [], self.fill, f"{directory}/big"))
                    os.unlink(f"{directory}/big")
                    subprocess.run(["sync", "--file-system", self.disk], check=True)
                native, through = results
                self.assertEqual((native[0], through[0]), ("EDQUOT", "EDQUOT"))
                self.assertAlmostEqual(native[1] / 1024, through[1] / 1024, delta=1024)
                node.stop()

    def test_of_a_user_on_ext4(self):
        if not self.made(96, ["mkfs.ext4", "-q", "-O", "quota", "-E", "quotatype=usrquota"], "loop,usrquota"):
            self.skipTest("no ext4 with quota can be made and mounted here (CONFIG_QFMT_V2)")
        self.limit_user()
        self.same_on_both()

    def test_of_a_subvolume_on_btrfs(self):
        if not shutil.which("btrfs") or not self.made(128, ["mkfs.btrfs", "-q"], "loop"):
            self.skipTest("no btrfs can be made and mounted here")
        for command in (["quota", "enable", self.disk], ["qgroup", "limit", str(self.LIMIT_KIB << 10), self.disk]):
            subprocess.run(["btrfs", *command], stdout=subprocess.DEVNULL, check=True)
        self.same_on_both()


if __name__ == "__main__":
    unittest.main(verbosity=2)
