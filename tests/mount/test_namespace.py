"""The virtual half of the mount on one real node: shuffles/, nodes/, .shufflefs/ and the commits in maps/.

Needs root and /dev/fuse. SHUFFLEFS_BUILD is the directory with the program.
"""

import errno
import os
import re
import shutil
import signal
import struct
import subprocess
import tarfile
import tempfile
import threading
import time
import unittest

PROGRAM = os.path.join(os.environ.get("SHUFFLEFS_BUILD", "build"), "shufflefs")
SHORT = 30  # seconds that anything may take
ADDRESS = "127.0.0.21"


class Daemon:
    """One node with its mount."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="shufflefs-namespace-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.mount = f"{self.directory}/mnt"
        self.data = f"{self.directory}/data"
        self.log_path = f"{self.directory}/log"
        command = [PROGRAM, "serve", "--node", "n1", "--mount", self.mount, "--data", self.data,
                   "--peer-listen", f"{ADDRESS}:7338", "--members", f"n1={ADDRESS}:7338",
                   "--http-listen", f"{ADDRESS}:7340"]
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(lambda: self.process.poll() is not None or "serve.ready" in self.log(), "the daemon is ready")
        except AssertionError:
            self.stop()
            raise
        if self.process.poll() is not None:
            raise RuntimeError(self.log())

    def log(self):
        with open(self.log_path, encoding="utf-8") as log:
            return log.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(SHORT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        while os.path.ismount(self.mount):
            subprocess.run(["umount", "-l", self.mount], check=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def until(condition, what):
    """Waits for a condition, with a deadline."""
    deadline = time.monotonic() + SHORT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {SHORT} s in vain until {what}")
        time.sleep(0.01)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def index_of(lengths):
    """An index as Spark writes it: big-endian offsets."""
    offsets = [0]
    for length in lengths:
        offsets.append(offsets[-1] + length)
    return struct.pack(f">{len(offsets)}Q", *offsets)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=SHORT * 2, check=False)


class NamespaceCase(unittest.TestCase):
    """Each test has a shuffle of its own; all share one daemon."""

    number = 0

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()
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


class Names(NamespaceCase):
    def test_the_fixed_directories(self):
        self.assertEqual(sorted(os.listdir(self.mount)), [".shufflefs", "local", "nodes", "shuffles"])
        self.assertEqual(os.listdir(f"{self.mount}/local"), ["disk0"])
        self.assertEqual(sorted(os.listdir(self.shuffle)), ["maps", "partitions", "status"])
        self.assertEqual(os.listdir(f"{self.mount}/nodes"), ["n1"])
        self.assertEqual(os.listdir(f"{self.mount}/nodes/n1"), ["shuffles"])
        self.assertEqual(os.stat(f"{self.mount}/shuffles").st_mode & 0o7777, 0o1777)
        self.assertEqual(os.stat(self.shuffle).st_mode & 0o777, 0o777)

    def test_mkdir_makes_a_shuffle_that_is_listed_and_empty(self):
        self.assertIn(self.app, os.listdir(f"{self.mount}/shuffles"))
        self.assertEqual(os.listdir(f"{self.mount}/shuffles/{self.app}"), ["0"])
        self.assertEqual(os.listdir(self.maps), [])
        self.assertEqual(os.listdir(self.partitions), [])
        self.refused(errno.EEXIST, os.mkdir, self.shuffle)
        self.refused(errno.EEXIST, os.mkdir, self.maps)
        self.assertEqual(run("mkdir", "-p", self.maps).returncode, 0)

    def test_an_application_alone(self):
        app = f"{self.mount}/shuffles/{self.app}-alone"
        os.mkdir(app)
        self.assertEqual(os.listdir(app), [])
        self.assertIn(f"{self.app}-alone", os.listdir(f"{self.mount}/shuffles"))
        os.rmdir(app)
        self.assertFalse(os.path.exists(app))

    def test_bad_names_are_einval_for_mkdir_and_are_logged(self):
        for name in (".hidden", "..x", "-rf", "a b", "ä", "a\nb", "x" * 201):
            with self.subTest(name=name):
                self.refused(errno.EINVAL, os.mkdir, f"{self.mount}/shuffles/{name}")
                self.assertFalse(os.path.exists(f"{self.mount}/shuffles/{name}"))
        for name in ("01", "-1", "+1", "x", "2147483648", "99999999999999999999"):
            with self.subTest(name=name):
                self.refused(errno.EINVAL, os.mkdir, f"{self.mount}/shuffles/{self.app}/{name}")
        self.assertIn("namespace.bad_name", self.daemon.log())
        self.assertNotIn("a\nb", self.daemon.log())

    def test_dot_dot_stays_inside(self):
        with_dots = f"{self.mount}/shuffles/{self.app}/../../shuffles/{self.app}/0/status"
        self.assertTrue(os.path.exists(with_dots))
        self.refused(errno.EINVAL, os.makedirs, f"{self.mount}/shuffles/..evil/0")
        self.assertFalse(os.path.exists(f"{self.daemon.data}/maps/..evil"))

    def test_what_nobody_knows_does_not_exist(self):
        for path in ("nobody", "nobody/0", f"{self.app}/1", f"{self.app}/0/partition", f"{self.app}/0/maps2"):
            with self.subTest(path=path):
                self.refused(errno.ENOENT, os.stat, f"{self.mount}/shuffles/{path}")
        self.refused(errno.ENOENT, os.stat, f"{self.mount}/nodes/n2")
        self.refused(errno.ENOENT, os.stat, f"{self.mount}/local/disk1")
        self.refused(errno.ENOENT, os.stat, f"{self.mount}/.shufflefs/nothing")

    def test_partition_numbers(self):
        self.commit(1, {0: b"a", 2: b"b"})
        for name in ("0", "1", "2", "2.merged", "0.index"):
            self.assertTrue(os.path.isfile(f"{self.partitions}/{name}"), name)
        for name in ("3", "16777215", "16777216", "99999999999", "01", "-1", "0.merge", "x", "3.merged"):
            self.refused(errno.ENOENT, os.stat, f"{self.partitions}/{name}")

    def test_information_about_the_daemon(self):
        info = f"{self.mount}/.shufflefs"
        self.assertLessEqual({"version", "config", "status.json", "metrics"}, set(os.listdir(info)))
        for name in os.listdir(info):
            if os.path.isfile(f"{info}/{name}"):
                self.assertGreater(len(read(f"{info}/{name}")), 0, name)
        self.assertIn(b"shufflefs_commits_total", read(f"{info}/metrics"))


class ReadOnly(NamespaceCase):
    def test_writes_to_what_is_virtual(self):
        self.commit(1, {0: b"a"})
        partition = f"{self.partitions}/0"
        new = f"{self.partitions}/new"
        cases = [
            (os.open, partition, os.O_WRONLY), (os.open, partition, os.O_RDWR), (os.truncate, partition, 0),
            (os.open, partition, os.O_RDONLY | os.O_TRUNC), (os.open, new, os.O_WRONLY | os.O_CREAT),
            (os.mkdir, new), (os.symlink, "x", new), (os.link, partition, new), (os.mkfifo, new),
            (os.rename, partition, new), (os.rename, self.partitions, f"{self.shuffle}/other"),
            (os.chmod, partition, 0o644), (os.chown, partition, 1, 1), (os.utime, partition, (1, 1)),
            (os.setxattr, partition, "user.x", b"1"), (os.mkdir, f"{self.mount}/new"),
            (os.mkdir, f"{self.mount}/nodes/new"), (os.rmdir, f"{self.mount}/nodes"),
            (os.rmdir, f"{self.mount}/shuffles"), (os.unlink, f"{self.mount}/.shufflefs/version"),
            (os.unlink, f"{self.mount}/nodes/n1/shuffles/{self.app}/0/maps/1.data"),
            (os.open, f"{self.mount}/.shufflefs/version", os.O_WRONLY),
        ]
        for call, *arguments in cases:
            with self.subTest(call=call.__name__, arguments=arguments):
                self.refused(errno.EROFS, call, *arguments)
        self.assertEqual(read(partition), b"a")

    def test_moving_between_halves_is_another_device(self):
        write(f"{self.mount}/local/disk0/{self.app}", b"x")
        self.refused(errno.EXDEV, os.rename, f"{self.mount}/local/disk0/{self.app}", f"{self.maps}/.tmp")
        self.refused(errno.EXDEV, os.rename, f"{self.mount}/local/disk0/{self.app}", f"{self.partitions}/0")


class DirectoryCommits(NamespaceCase):
    def test_a_commit_is_readable_when_its_rename_returns(self):
        for map_id in range(5):
            self.commit(map_id, {p: f"{map_id}/{p};".encode() * (p + 1) for p in range(4)})
            for partition in range(4):
                blocks = read(f"{self.partitions}/{partition}").split(b";")
                expected = {f"{m}/{partition}".encode() for m in range(map_id + 1)}
                self.assertEqual(set(blocks), expected | {b""})
                self.assertEqual(len(blocks) - 1, (map_id + 1) * (partition + 1))

    def test_it_is_merged_in_the_end(self):
        self.commit(1, {0: b"abc", 1: b"", 2: b"x" * 100_000})
        until(lambda: self.attribute(self.shuffle, "merged") == "1", "the map output is merged")
        self.assertEqual(self.attribute(self.shuffle, "maps"), "1")
        self.assertEqual(self.attribute(self.shuffle, "partitions"), "3")
        partition = f"{self.partitions}/2"
        until(lambda: self.attribute(partition, "merged") == "1", "the partition is merged")
        self.assertEqual(self.attribute(partition, "owner"), "n1")
        self.assertEqual(self.attribute(partition, "maps"), "1")
        self.assertEqual(self.attribute(partition, "bytes"), "100000")
        self.assertEqual(read(partition), b"x" * 100_000)
        self.assertEqual(read(f"{partition}.merged"), b"x" * 100_000)
        self.assertEqual(os.stat(f"{partition}.merged").st_size, 100_000)
        self.assertEqual(len(read(f"{partition}.index")), os.stat(f"{partition}.index").st_size)
        self.assertEqual(read(f"{self.partitions}/1"), b"")
        self.assertIn("1 committed", self.status())

    def test_attributes(self):
        self.commit(1, {0: b"abc"})
        listed = set(os.listxattr(f"{self.partitions}/0"))
        self.assertEqual(listed, {f"user.shufflefs.{n}" for n in ("owner", "maps", "merged", "bytes")})
        self.assertEqual(set(os.listxattr(self.shuffle)), {f"user.shufflefs.{n}" for n in ("maps", "merged", "partitions")})
        self.assertEqual(os.listxattr(f"{self.partitions}/0.index"), [])
        self.refused(errno.ENODATA, os.getxattr, f"{self.partitions}/0", "user.other")
        self.refused(errno.ENODATA, os.getxattr, f"{self.mount}/shuffles", "user.shufflefs.maps")

    def test_refused_commits_lose_nothing(self):
        for name, message in (("x", "x"), ("07", "07"), ("7.txt", "7.txt"), ("99999999999999999999", "99999999999999999999")):
            with self.subTest(name=name):
                temporary = self.temporary(f".tmp-{name}", {0: b"a"})
                self.refused(errno.EINVAL, os.rename, temporary, f"{self.maps}/{name}")
                self.assertEqual(read(f"{temporary}/0"), b"a")
                self.assertIn(message, self.daemon.log())
        for partition in ("99999999999", "x", "01"):
            with self.subTest(partition=partition):
                temporary = self.temporary(f".tmp-p{partition}", {0: b"a", partition: b"b"})
                self.refused(errno.EINVAL, os.rename, temporary, f"{self.maps}/8")
                self.assertEqual(read(f"{temporary}/{partition}"), b"b")
                until(lambda p=partition: re.search(f"^refused .*{p}", self.status(), re.MULTILINE), "status says so")
        self.assertIn("commit.refused", self.daemon.log())
        self.assertFalse(os.path.exists(f"{self.maps}/8"))
        self.assertEqual(os.listdir(self.partitions), [])

    def test_names_in_maps(self):
        for name in ("x", "07.data", "7.txt"):
            self.refused(errno.EINVAL, write, f"{self.maps}/{name}", b"a")
        self.refused(errno.EINVAL, os.mkdir, f"{self.maps}/7")
        self.refused(errno.EINVAL, os.mkdir, f"{self.maps}/x")
        write(f"{self.maps}/.anything", b"a")

    def test_what_is_committed_does_not_change(self):
        self.commit(7, {0: b"abc"})
        self.refused(errno.EROFS, write, f"{self.maps}/7/1", b"new")
        self.refused(errno.EROFS, write, f"{self.maps}/7/0", b"other")
        self.refused(errno.EROFS, os.rename, f"{self.maps}/7", f"{self.maps}/.old")
        self.refused(errno.EROFS, os.rename, f"{self.maps}/7/0", f"{self.maps}/7/1")
        self.refused(errno.EROFS, os.rename, self.temporary(".again", {0: b"b"}), f"{self.maps}/7")
        self.assertEqual(read(f"{self.partitions}/0"), b"abc")

    def test_a_map_output_can_be_removed(self):
        self.commit(1, {0: b"one"})
        self.commit(2, {0: b"two"})
        shutil.rmtree(f"{self.maps}/1")
        until(lambda: read(f"{self.partitions}/0") == b"two", "the removed block is gone")


class FileCommits(NamespaceCase):
    def put(self, name, content):
        write(f"{self.maps}/.{name}", content)
        os.rename(f"{self.maps}/.{name}", f"{self.maps}/{name}")

    def test_index_first_and_data_first(self):
        self.put("1.index", index_of([3, 0, 2]))
        self.put("1.data", b"abcde")
        self.put("2.data", b"ABCDE")
        self.put("2.index", index_of([3, 0, 2]))
        self.assertEqual(sorted(read(f"{self.partitions}/0").decode()), sorted("abcABC"))
        self.assertEqual(read(f"{self.partitions}/1"), b"")
        self.assertEqual(sorted(read(f"{self.partitions}/2").decode()), sorted("deDE"))

    def test_written_in_place(self):
        write(f"{self.maps}/1.data", b"abcde")
        write(f"{self.maps}/1.index", index_of([3, 2]))
        until(lambda: self.attribute(self.shuffle, "maps") == "1", "it is committed")
        self.assertEqual(read(f"{self.partitions}/1"), b"de")
        self.refused(errno.EROFS, write, f"{self.maps}/1.data", b"other")

    def test_inconsistent_pairs_are_refused_and_kept(self):
        bad = {
            "longer than the data": index_of([3, 3]),
            "shorter than the data": index_of([3, 1]),
            "falling": struct.pack(">3Q", 0, 6, 5),
            "not from 0": struct.pack(">3Q", 1, 3, 5),
            "truncated": index_of([3, 2])[:-3],
            "empty": b"",
        }
        for map_id, (what, index) in enumerate(bad.items(), start=10):
            with self.subTest(what=what):
                self.put(f"{map_id}.data", b"abcde")
                write(f"{self.maps}/.{map_id}.index", index)
                self.refused(errno.EINVAL, os.rename, f"{self.maps}/.{map_id}.index", f"{self.maps}/{map_id}.index")
                self.assertEqual(read(f"{self.maps}/.{map_id}.index"), index)
                self.assertEqual(read(f"{self.maps}/{map_id}.data"), b"abcde")
                until(lambda m=map_id: re.search(f"^refused .*{m}.index", self.status(), re.MULTILINE), "status says so")
        self.assertEqual(self.attribute(self.shuffle, "maps"), "0")

    def test_a_refused_pair_can_be_mended(self):
        self.put("1.data", b"abcde")
        write(f"{self.maps}/.1.index", index_of([1]))
        self.refused(errno.EINVAL, os.rename, f"{self.maps}/.1.index", f"{self.maps}/1.index")
        self.put("1.index", index_of([1, 4]))
        self.assertEqual(read(f"{self.partitions}/1"), b"bcde")


class SparkFiles(NamespaceCase):
    def test_spark_map_outputs_are_seen_in_maps(self):
        app = f"spark-{self.app}"
        local = f"{self.mount}/local/disk0/{app}"
        os.makedirs(f"{local}/blockmgr-1/0a")
        os.setxattr(local, "user.shufflefs.app", app.encode())
        base = f"{local}/blockmgr-1/0a/shuffle_0_7_0"
        write(f"{base}.index.tmp", index_of([3, 2]))
        write(f"{base}.data.tmp", b"abcde")
        os.rename(f"{base}.index.tmp", f"{base}.index")
        os.rename(f"{base}.data.tmp", f"{base}.data")
        maps = f"{self.mount}/shuffles/{app}/0/maps"
        until(lambda: os.path.exists(f"{maps}/7.data"), "the map output is seen")
        self.assertEqual(sorted(os.listdir(maps)), ["7.data", "7.index"])
        self.assertEqual(read(f"{maps}/7.data"), b"abcde")
        self.assertEqual(read(f"{maps}/7.index"), index_of([3, 2]))
        self.assertEqual(os.stat(f"{maps}/7.data").st_size, 5)
        self.assertEqual(read(f"{self.mount}/shuffles/{app}/0/partitions/1"), b"de")
        self.refused(errno.EROFS, os.open, f"{maps}/7.data", os.O_WRONLY)
        self.refused(errno.ENOENT, os.stat, f"{maps}/8.data")
        os.unlink(f"{base}.data")
        os.unlink(f"{base}.index")
        until(lambda: not os.path.exists(f"{maps}/7.data"), "it is gone")


class Tools(NamespaceCase):
    def fill(self):
        for map_id in range(3):
            self.commit(map_id, {p: f"{map_id}.{p} ".encode() * 1000 for p in range(5)})
        until(lambda: self.attribute(self.shuffle, "merged") == "3", "all is merged")
        return {str(p): read(f"{self.partitions}/{p}") for p in range(5)}

    def test_ls_find_du_cp_tar(self):
        content = self.fill()
        listing = run("ls", "-l", self.partitions).stdout.splitlines()[1:]
        sizes = {line.split()[-1]: int(line.split()[4]) for line in listing}
        for name, data in content.items():
            self.assertEqual(sizes[name], len(data))
        found = run("find", self.mount, "-ls")
        self.assertEqual((found.returncode, found.stderr), (0, ""))
        self.assertEqual(len(run("find", self.partitions, "-type", "f").stdout.split()), 15)
        used = run("du", "-sb", "--apparent-size", self.partitions)
        self.assertEqual(used.returncode, 0)
        self.assertGreater(int(used.stdout.split()[0]), sum(map(len, content.values())))
        copy = f"{self.daemon.directory}/copy-{self.app}"
        copied = run("cp", "-r", self.shuffle, copy)
        self.assertEqual((copied.returncode, copied.stderr), (0, ""))
        archive = f"{self.daemon.directory}/{self.app}.tar"
        packed = run("tar", "-cf", archive, "-C", self.shuffle, ".")
        self.assertEqual((packed.returncode, packed.stderr), (0, ""))
        with tarfile.open(archive) as tar:
            for name, data in content.items():
                self.assertEqual(read(f"{copy}/partitions/{name}"), data)
                self.assertEqual(tar.extractfile(f"./partitions/{name}").read(), data)
            self.assertIn(b"3 committed", tar.extractfile("./status").read())

    def test_getfattr(self):
        self.fill()
        if shutil.which("getfattr") is None:
            self.skipTest("getfattr is not installed")
        shown = run("getfattr", "-d", f"{self.partitions}/0").stdout
        self.assertIn('user.shufflefs.maps="3"', shown)

    def test_two_readers_while_it_grows(self):
        content = self.fill()
        with open(f"{self.partitions}/1", "rb") as early:
            self.commit(100, {1: b"late"})
            with open(f"{self.partitions}/1", "rb") as late:
                self.assertEqual(os.fstat(early.fileno()).st_ino, os.fstat(late.fileno()).st_ino)
                self.assertEqual(os.fstat(early.fileno()).st_size, len(content["1"]))
                self.assertEqual(len(late.read()), len(content["1"]) + 4)
                self.assertEqual(early.read(), content["1"])

    def test_many_readers_at_once(self):
        content = self.fill()
        wrong = []

        def reader():
            for turn in range(40):
                name = str(turn % 5)
                try:
                    if read(f"{self.partitions}/{name}") != content[name]:
                        wrong.append(name)
                except OSError as error:
                    wrong.append(error)

        threads = [threading.Thread(target=reader) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_the_view_of_a_node(self):
        content = self.fill()
        view = f"{self.mount}/nodes/n1/shuffles/{self.app}/0"
        self.assertEqual(sorted(os.listdir(f"{view}/maps")), [f"{m}.{s}" for m in range(3) for s in ("data", "index")])
        self.assertEqual(read(f"{view}/maps/1.data"), b"".join(f"1.{p} ".encode() * 1000 for p in range(5)))
        self.assertEqual(read(f"{view}/maps/1.index"), index_of([4000] * 5))
        self.assertEqual(os.stat(f"{view}/maps/1.data").st_size, 20_000)
        self.assertEqual(len(os.listdir(f"{view}/partitions")), 10)
        self.assertEqual(read(f"{view}/partitions/2.merged"), content["2"])
        self.assertEqual(read(f"{view}/partitions/2.index"), read(f"{self.partitions}/2.index"))
        self.refused(errno.ENOENT, os.stat, f"{view}/partitions/2")
        self.refused(errno.ENOENT, os.stat, f"{view}/maps/99.data")
        self.refused(errno.ENOENT, os.stat, f"{self.mount}/nodes/n1/shuffles/nobody")


class Drops(NamespaceCase):
    def test_rm_r_of_a_shuffle_and_its_name_again(self):
        self.commit(1, {0: b"old"})
        os.makedirs(f"{self.mount}/shuffles/{self.app}/1")
        removed = run("rm", "-r", self.shuffle)
        self.assertEqual((removed.returncode, removed.stderr), (0, ""))
        self.assertEqual(os.listdir(f"{self.mount}/shuffles/{self.app}"), ["1"])
        self.assertFalse(os.path.exists(self.shuffle))
        os.makedirs(self.maps, exist_ok=True)
        self.assertEqual(os.listdir(self.maps), [])
        self.assertEqual(os.listdir(self.partitions), [])
        self.commit(1, {0: b"new"})
        self.assertEqual(read(f"{self.partitions}/0"), b"new")

    def test_rm_r_of_an_application(self):
        for shuffle in range(3):
            os.makedirs(f"{self.mount}/shuffles/{self.app}/{shuffle}", exist_ok=True)
        self.commit(1, {0: b"a"})
        self.temporary(".tmp-unfinished", {0: b"a"})
        removed = run("rm", "-r", f"{self.mount}/shuffles/{self.app}")
        self.assertEqual((removed.returncode, removed.stderr), (0, ""))
        self.assertNotIn(self.app, os.listdir(f"{self.mount}/shuffles"))
        self.assertFalse(os.path.exists(f"{self.mount}/shuffles/{self.app}"))
        self.assertIn("shuffle.dropped", self.daemon.log())

    def test_rmdir_alone_drops(self):
        self.commit(1, {0: b"a"})
        os.rmdir(self.shuffle)
        self.assertFalse(os.path.exists(self.shuffle))
        self.assertEqual(os.listdir(f"{self.mount}/shuffles/{self.app}"), [])
        os.rmdir(f"{self.mount}/shuffles/{self.app}")

    def test_what_is_open_is_read_to_its_end(self):
        self.commit(1, {0: b"x" * 300_000})
        until(lambda: self.attribute(self.shuffle, "merged") == "1", "it is merged")
        with open(f"{self.partitions}/0", "rb", buffering=0) as file:
            os.rmdir(self.shuffle)
            self.assertEqual(os.fstat(file.fileno()).st_size, 300_000)


class OtherUsers(NamespaceCase):
    def as_user(self, script):
        return subprocess.run(["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "sh", "-ec", script],
                              capture_output=True, text=True, timeout=SHORT, check=False)

    def test_any_user_can_shuffle_and_clean_up(self):
        os.chmod(self.daemon.directory, 0o755)
        base = f"{self.mount}/shuffles/user-{self.app}"
        done = self.as_user(f"""
            mkdir -p {base}/0/maps/.tmp-1; printf abc > {base}/0/maps/.tmp-1/0; mv {base}/0/maps/.tmp-1 {base}/0/maps/1
            cat {base}/0/partitions/0""")
        self.assertEqual((done.stdout, done.stderr), ("abc", ""))
        self.assertEqual(os.stat(f"{base}/0/maps/1").st_uid, 12345)
        self.assertEqual(os.stat(f"{base}/0").st_uid, 12345)
        removed = self.as_user(f"rm -rf {base}")
        self.assertEqual((removed.returncode, removed.stderr), (0, ""))
        self.assertFalse(os.path.exists(base))

    def test_nobody_removes_the_application_of_another(self):
        os.chmod(self.daemon.directory, 0o755)
        self.assertNotEqual(self.as_user(f"rmdir {self.mount}/shuffles/{self.app}").returncode, 0)
        self.assertTrue(os.path.exists(self.shuffle))


if __name__ == "__main__":
    unittest.main()
