"""The native half of the mount against the disk below: same results, same errors, same metadata; and how it starts,
ends and fails. Needs root. SHUFFLEFS_BUILD names the build directory (default: build)."""

import errno
import fcntl
import mmap
import os
import shutil
import subprocess
import time
import unittest

import posix_ops
from mounted import NativeMount, StartFailed, WorkDirectory, is_mounted
from posix_tools import EXCHANGE, as_user, get, outcome, put, rename2
from shuffle_cluster import until

MEMORY = "/dev/shm"


class Mounted(unittest.TestCase):
    """A mount for the tests of a class."""

    base = None
    arguments = ()
    more_data = ()

    @classmethod
    def setUpClass(cls):
        cls.work = WorkDirectory(cls.base)
        cls.addClassCleanup(cls.work.remove)
        data = [f"{cls.work.path}/data", *cls.more_data]
        cls.node = NativeMount(cls.work.path, cls.arguments, data)
        cls.addClassCleanup(cls.node.stop)
        cls.node.start()
        cls.native = cls.work.sub("native")

    def places(self):
        """A new directory on the mount and one on the disk."""
        name = self.id().rsplit(".", 1)[-1]
        pair = f"{self.node.disk()}/{name}", f"{self.native}/{name}"
        for path in pair:
            os.mkdir(path, 0o755)
        return pair


class Parity:
    """Each operation of posix_ops once, on the mount and natively."""

    maxDiff = 4000

    def test_reading_leaves_access_times_alone(self):
        """The one thing that is not as on the disk, in either mode, as on a disk mounted with noatime."""
        path = f"{self.places()[0]}/f"
        put(path, b"data")
        os.utime(path, ns=(1_000_000_000, 2_000_000_000))
        self.assertEqual(get(path), b"data")
        self.assertEqual(os.stat(path).st_atime_ns, 1_000_000_000)


def add_parity_tests():
    for name, operation in posix_ops.OPERATIONS.items():
        def test(self, operation=operation):
            through, native = self.places()
            expected = operation(native)
            self.assertEqual(operation(through), expected)
        test.__doc__ = operation.__doc__
        setattr(Parity, f"test_{name}", test)


add_parity_tests()


class TestDiskPassthrough(Parity, Mounted):
    def test_passthrough_is_in_use(self):
        put(f"{self.node.disk()}/counted", b"x" * 10000)
        self.assertEqual(len(get(f"{self.node.disk()}/counted")), 10000)
        counters = self.node.counters()
        self.assertGreater(counters["shufflefs_passthrough_opens_total"], 0)
        self.assertEqual(counters["shufflefs_ordinary_opens_total"], 0)
        self.assertEqual(counters["shufflefs_ordinary_reads_total"], 0)
        self.assertEqual(counters["shufflefs_ordinary_writes_total"], 0)

    def test_an_open_file_keeps_its_append_mode(self):
        """The kernel's, and not as on the disk (docs/namespace.md): the file below keeps the flags that it was opened with."""
        written = []
        for place in self.places():
            put(f"{place}/f", b"0123456789")
            fd = os.open(f"{place}/f", os.O_RDWR | os.O_APPEND)
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_APPEND)
            os.pwrite(fd, b"AB", 0)
            os.close(fd)
            written.append(get(f"{place}/f"))
        # Linux appends with pwrite as well while O_APPEND is set.
        self.assertEqual(written, [b"0123456789AB", b"AB23456789"])


class TestDiskOrdinary(Parity, Mounted):
    arguments = ("--no-passthrough",)

    def test_sparse_seek(self):
        """The kernel knows of no holes, as on a disk that has none (docs/namespace.md)."""
        with open(f"{self.places()[0]}/f", "wb+") as file:
            file.seek(1 << 20)
            file.write(b"data")
            file.flush()
            self.assertEqual(os.lseek(file.fileno(), 0, os.SEEK_DATA), 0)
            self.assertEqual(os.lseek(file.fileno(), 0, os.SEEK_HOLE), (1 << 20) + 4)
            os.ftruncate(file.fileno(), 2 << 20)
            with mmap.mmap(file.fileno(), 2 << 20) as mapped:
                mapped[3 << 19:(3 << 19) + 4] = b"more"
                self.assertEqual(os.lseek(file.fileno(), 0, os.SEEK_DATA), 0)

    def test_pages_stay_in_the_kernel(self):
        path = f"{self.node.disk()}/kept"
        put(path, b"x" * 100_000)
        get(path)
        before = self.node.counters()["shufflefs_ordinary_reads_total"]
        for _ in range(3):
            self.assertEqual(get(path), b"x" * 100_000)
        self.assertEqual(self.node.counters()["shufflefs_ordinary_reads_total"], before)

    def test_ordinary_io_is_in_use(self):
        put(f"{self.node.disk()}/counted", b"x" * 10000)
        self.assertEqual(len(get(f"{self.node.disk()}/counted")), 10000)
        counters = self.node.counters()
        self.assertEqual(counters["shufflefs_passthrough_opens_total"], 0)
        self.assertGreater(counters["shufflefs_ordinary_writes_total"], 0)


class TestMemoryPassthrough(Parity, Mounted):
    base = MEMORY


class TestMemoryWithoutCaching(Parity, Mounted):
    base = MEMORY
    arguments = ("--cache-seconds", "0")


class TestOverlay(Mounted):
    """A stacked file system gives neither passthrough nor file handles; everything still works."""

    @classmethod
    def setUpClass(cls):
        cls.work = WorkDirectory()
        cls.addClassCleanup(cls.work.remove)
        lower, upper, inner = (cls.work.sub(name) for name in ("lower", "upper", "inner"))
        merged = cls.work.sub("merged")
        options = f"lowerdir={lower},upperdir={upper},workdir={inner}"
        made = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=False)
        if made.returncode != 0:
            raise unittest.SkipTest("overlayfs cannot be mounted here")
        cls.node = NativeMount(cls.work.path, (), [f"{merged}/data"])
        cls.addClassCleanup(cls.node.stop)
        cls.node.start()
        cls.native = f"{merged}/native"
        os.mkdir(cls.native)

    def test_same_results_by_ordinary_io(self):
        for name in ("append", "rename_variants", "links", "truncate", "mmap_shared", "readdir_while_it_changes",
                     "walk_copy_and_remove", "create_modes_and_umask", "permission_denied"):
            with self.subTest(name):
                for path in (f"{self.node.disk()}/{name}", f"{self.native}/{name}"):
                    os.mkdir(path, 0o755)
                operation = posix_ops.OPERATIONS[name]
                self.assertEqual(operation(f"{self.node.disk()}/{name}"), operation(f"{self.native}/{name}"))
        counters = self.node.counters()
        self.assertEqual(counters["shufflefs_passthrough_opens_total"], 0)
        self.assertGreater(counters['shufflefs_passthrough_refused_total{reason="stacked"}'], 0)
        self.assertEqual(self.node.log().count("passthrough.refused"), 1, "one line, not one per file")


class TestTrees(Mounted):
    """What is particular to the mount: several disks, virtual directories."""

    @classmethod
    def setUpClass(cls):
        cls.memory = WorkDirectory(MEMORY)
        cls.addClassCleanup(cls.memory.remove)
        cls.more_data = [f"{cls.memory.path}/data"]
        super().setUpClass()

    def test_no_links_or_renames_between_trees(self):
        first, second = self.node.disk(0), self.node.disk(1)
        put(f"{first}/x", b"data")
        os.mkdir(f"{first}/xdir")
        self.assertEqual(outcome(os.rename, f"{first}/x", f"{second}/x"), "EXDEV")
        self.assertEqual(outcome(os.rename, f"{first}/xdir", f"{second}/xdir"), "EXDEV")
        self.assertEqual(outcome(os.link, f"{first}/x", f"{second}/x"), "EXDEV")
        self.assertEqual(outcome(os.rename, f"{first}/x", f"{self.node.mount}/x"), "EXDEV")
        self.assertEqual(outcome(os.link, f"{first}/x", f"{self.node.mount}/local/x"), "EXDEV")
        shutil.move(f"{first}/x", f"{second}/x")
        self.assertEqual(get(f"{second}/x"), b"data")

    def test_names_are_not_exchanged(self):
        """It could not be done exactly once across a worker's death."""
        names = [f"{self.node.disk(0)}/{name}" for name in ("first", "second")]
        for name in names:
            put(name, name.encode())
        self.assertEqual(outcome(rename2, *names, EXCHANGE), "EINVAL")
        self.assertEqual([get(name) for name in names], [name.encode() for name in names])

    def test_virtual_directories_refuse_changes(self):
        root = self.node.mount
        for where in (root, f"{root}/local"):
            with self.subTest(where):
                self.assertEqual(outcome(put, f"{where}/x"), "EROFS")
                self.assertEqual(outcome(os.mkdir, f"{where}/x"), "EROFS")
                self.assertEqual(outcome(os.symlink, "t", f"{where}/x"), "EROFS")
                self.assertEqual(outcome(os.mkfifo, f"{where}/x"), "EROFS")
                self.assertEqual(outcome(os.open, where, os.O_TMPFILE | os.O_RDWR), "EROFS")
                self.assertEqual(outcome(os.setxattr, where, "user.x", b""), "EROFS")
                self.assertEqual(outcome(os.chmod, where, 0o777), "EROFS")
        self.assertEqual(outcome(os.rename, f"{root}/local", f"{root}/other"), "EROFS")

    def test_inode_numbers_of_disks_do_not_collide(self):
        seen = {}
        for disk in (0, 1):
            os.makedirs(f"{self.node.disk(disk)}/many")
            for number in range(500):
                put(f"{self.node.disk(disk)}/many/f{number}")
            with os.scandir(f"{self.node.disk(disk)}/many") as entries:
                for entry in entries:
                    self.assertEqual(entry.inode(), entry.stat().st_ino)
                    self.assertNotIn(entry.inode(), seen)
                    seen[entry.inode()] = entry.path

    def test_statvfs(self):
        for disk in (0, 1):
            ours, theirs = os.statvfs(self.node.disk(disk)), os.statvfs(self.node.backing(disk))
            self.assertEqual((ours.f_blocks, ours.f_bsize), (theirs.f_blocks, theirs.f_bsize))
        whole = os.statvfs(self.node.mount)
        expected = sum(os.statvfs(self.node.backing(d)).f_blocks * os.statvfs(self.node.backing(d)).f_frsize for d in (0, 1))
        self.assertAlmostEqual(whole.f_blocks * whole.f_frsize, expected, delta=1 << 20)

    def test_known_inodes_cost_no_descriptors_and_are_forgotten(self):
        many = f"{self.node.disk()}/walk"
        os.mkdir(many)
        before = self.node.descriptors()
        for number in range(3000):
            put(f"{many}/f{number}")
        subprocess.run(["ls", "-lR", many], stdout=subprocess.DEVNULL, check=True)
        self.assertLess(self.node.descriptors() - before, 40)
        self.assertGreater(self.node.counters()["shufflefs_known_inodes"], 3000)
        shutil.rmtree(many)
        deadline = time.monotonic() + 10
        while self.node.counters()["shufflefs_known_inodes"] > 2500 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertLess(self.node.counters()["shufflefs_known_inodes"], 2500)
        self.assertEqual(self.node.counters()["shufflefs_open_files"], 0)

    def test_descriptors_are_closed(self):
        before = self.node.descriptors()
        for _ in range(300):
            put(f"{self.node.disk()}/closed", b"x")
            get(f"{self.node.disk()}/closed")
            os.listdir(self.node.disk())
        deadline = time.monotonic() + 10  # closes reach the daemon a little later
        while self.node.descriptors() > before + 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertLessEqual(self.node.descriptors(), before + 10)


class TestReplacedNames(Mounted):
    """A name that is replaced all the time is always there, and stands for one file or the other."""

    OPERATIONS = {
        "open": lambda path: os.close(os.open(path, os.O_RDONLY)),
        "open to write": lambda path: os.close(os.open(path, os.O_WRONLY)),
        "stat": os.stat,
        "utime": os.utime,
        "listxattr": os.listxattr,
    }

    def while_another(self, change, path, errors, count):
        """How the operations fail while another process changes the name."""
        changer = os.fork()
        if changer == 0:
            number = 0
            while True:
                number += 1
                change(path, number)
        try:
            for operation in self.OPERATIONS.values():
                for _ in range(count):
                    try:
                        operation(path)
                    except OSError as error:
                        errors.add(errno.errorcode[error.errno])
        finally:
            os.kill(changer, 9)
            os.waitpid(changer, 0)

    @staticmethod
    def rename_over(path, number):
        put(f"{path}.{number % 2}", b"%d" % number)
        os.replace(f"{path}.{number % 2}", path)

    @staticmethod
    def unlink_and_create(path, number):
        os.unlink(path)
        put(path, b"%d" % number)

    def test_renamed_over(self):
        errors, path = set(), f"{self.places()[0]}/f"
        put(path, b"0")
        self.while_another(self.rename_over, path, errors, 10_000)
        self.assertEqual(errors, set())

    def test_unlinked_and_made_again(self):
        errors, path = set(), f"{self.places()[0]}/f"
        put(path, b"0")
        self.while_another(self.unlink_and_create, path, errors, 5_000)
        # The kernel looks the name up again once when it was unlinked before its open; twice in a row is ESTALE.
        self.assertLessEqual(errors, {"ENOENT", "ESTALE"})

    def test_what_was_replaced_is_closed(self):
        before, path = self.node.descriptors(), f"{self.places()[0]}/f"
        put(path, b"0")
        for number in range(500):
            self.rename_over(path, number)
            os.stat(path)
        deadline = time.monotonic() + 10
        while self.node.descriptors() > before + 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertLessEqual(self.node.descriptors(), before + 10)


class TestFullDisk(unittest.TestCase):
    """ENOSPC comes through untouched, and ordinary users do not get root's reserve."""

    def setUp(self):
        self.work = WorkDirectory()
        self.addCleanup(self.work.remove)

    def mount_over(self, data, arguments=()):
        node = NativeMount(self.work.path, arguments, [data])
        self.addCleanup(node.stop)
        return node.start()

    @staticmethod
    def fill(directory):
        fd = os.open(f"{directory}/big", os.O_WRONLY | os.O_CREAT, 0o644)
        written = 0
        try:
            while True:
                written += os.write(fd, b"x" * 65536)
        except OSError as error:
            return error.errno, written
        finally:
            os.close(fd)

    def test_tmpfs(self):
        small = self.work.sub("small")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
        for arguments in ((), ("--no-passthrough",)):
            with self.subTest(arguments):
                node = self.mount_over(f"{small}/data", arguments)
                native = self.fill(small)
                os.unlink(f"{small}/big")
                through = self.fill(node.disk())
                self.assertEqual(through[0], native[0])
                self.assertAlmostEqual(through[1], native[1], delta=128 * 1024)
                self.assertEqual(os.stat(f"{node.disk()}/big").st_size, os.stat(f"{node.backing()}/big").st_size)
                os.unlink(f"{node.disk()}/big")
                # The space comes back a moment later (docs/namespace.md).
                until(lambda: outcome(put, f"{node.disk()}/again", b"x" * 1000) is None, "there is room again")
                node.stop()

    def test_ext4_reserved_blocks(self):
        image, small = f"{self.work.path}/image", self.work.sub("small")
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        if shutil.which("mkfs.ext4") is None:
            self.skipTest("no mkfs.ext4")
        subprocess.run(["mkfs.ext4", "-q", "-m", "30", image], check=True)
        if subprocess.run(["mount", "-o", "loop", image, small], check=False).returncode != 0:
            self.skipTest("no loop devices")
        for arguments in ((), ("--no-passthrough",)):
            for uid in (1000, 0):
                with self.subTest(arguments=arguments, uid=uid):
                    node = self.mount_over(f"{small}/data", arguments)
                    for place in (small, node.disk()):
                        os.chmod(place, 0o777)
                    native = as_user(uid, uid, [], self.fill, small)
                    os.unlink(f"{small}/big")
                    os.sync()
                    through = as_user(uid, uid, [], self.fill, node.disk())
                    os.unlink(f"{node.disk()}/big")
                    self.assertEqual(through[0], native[0])
                    self.assertAlmostEqual(through[1] / (1 << 20), native[1] / (1 << 20), delta=2)
                    node.stop()


class TestLife(unittest.TestCase):
    """Starting, stopping, crashing."""

    def setUp(self):
        self.work = WorkDirectory()
        self.addCleanup(self.work.remove)
        self.node = NativeMount(self.work.path)
        self.addCleanup(self.node.stop)

    def other(self, name, **changes):
        node = NativeMount(self.work.sub(name), **changes)
        self.addCleanup(node.stop)
        return node

    def refused(self, node):
        with self.assertRaises(StartFailed) as caught:
            node.start()
        return str(caught.exception)

    def test_stops_with_open_files(self):
        for arguments in ((), ("--no-passthrough",)):
            with self.subTest(arguments):
                self.node.arguments = list(arguments)
                self.node.start()
                files = [os.open(f"{self.node.disk()}/f{n}", os.O_RDWR | os.O_CREAT) for n in range(50)]
                directory = os.open(self.node.disk(), os.O_RDONLY)
                for fd in files:
                    os.write(fd, b"data")
                took = self.node.stop()
                self.assertLess(took, 10)
                self.assertEqual(self.node.process.returncode, 0)
                self.assertFalse(is_mounted(self.node.mount))
                self.assertIn("mount.stopped", self.node.log())
                self.assertIn(outcome(os.listdir, directory), ("ENOTCONN", "ECONNABORTED"))
                for fd in [*files, directory]:
                    outcome(os.close, fd)
                self.assertEqual(get(f"{self.node.backing()}/f49"), b"data")

    def test_stops_with_a_shell_inside(self):
        self.node.start()
        shell = subprocess.Popen(["sleep", "60"], cwd=self.node.disk())
        self.addCleanup(shell.wait)
        self.addCleanup(shell.kill)
        self.assertLess(self.node.stop(), 10)
        self.assertFalse(is_mounted(self.node.mount))

    def test_stale_mount_is_replaced(self):
        self.node.start()
        put(f"{self.node.disk()}/kept", b"still here")
        held = os.open(f"{self.node.disk()}/kept", os.O_RDONLY)
        for _ in range(2):  # the second recovery must work as the first
            self.node.kill()
            self.assertEqual(outcome(os.listdir, self.node.mount), "ENOTCONN")
            self.node.start()
            self.assertEqual(get(f"{self.node.disk()}/kept"), b"still here")
        self.assertEqual(self.node.log().count("mount.stale_detached"), 2)
        os.close(held)

    def test_second_instance_is_refused(self):
        self.node.start()
        text = self.refused(self.other("second", data=self.node.data))
        self.assertIn(f"pid {self.node.process.pid}", text)
        self.assertIn("in use by a running instance", text)
        text = self.refused(self.other("third", mount=self.node.mount))
        self.assertIn("is a live mount", text)
        self.assertIn(self.node.mount, text)
        put(f"{self.node.disk()}/fine")

    def test_mount_directory(self):
        os.mkdir(self.node.mount)
        put(f"{self.node.mount}/something")
        self.assertIn("is not empty", self.refused(self.node))
        os.unlink(f"{self.node.mount}/something")
        os.rmdir(self.node.mount)
        self.node.mount = f"{self.work.path}/deep/er/mnt with blank"
        self.node.start()
        put(f"{self.node.disk()}/x")
        self.node.stop()
        self.assertEqual(os.stat(self.node.mount).st_mode & 0o777, 0, "closed below the mount")

    def test_unmounted_from_outside(self):
        self.node.start()
        subprocess.run(["umount", self.node.mount], check=True)
        self.assertEqual(self.node.process.wait(10), 0)
        self.assertIn("mount.ended", self.node.log())

    def test_without_privilege(self):
        result = as_user(1000, 1000, [], lambda: subprocess.run(
            [os.path.abspath(self.node_program()), "--mount", "/tmp/m", "--data", "/nowhere/data"],
            capture_output=True, text=True, check=False).stderr)
        self.assertIn("cannot make the data directory", result)

    @staticmethod
    def node_program():
        from mounted import PROGRAM
        return PROGRAM


if __name__ == "__main__":
    unittest.main(verbosity=2)
