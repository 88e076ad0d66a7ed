"""The virtual half of the mount on one real node: names, refusals, what programs see, drops, users."""

import errno
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import unittest

from one_node import SHORT, Daemon, NamespaceCase, read, run, until, write


class Names(NamespaceCase):
    def test_the_fixed_directories(self):
        self.assertEqual(sorted(os.listdir(self.mount)), [".shufflefs", "local", "shuffles"])
        self.assertEqual(os.listdir(f"{self.mount}/local"), ["disk0"])
        self.assertEqual(sorted(os.listdir(self.shuffle)), ["maps", "partitions", "status"])
        self.assertEqual(os.stat(f"{self.mount}/shuffles").st_mode & 0o7777, 0o1777)
        self.assertEqual(os.stat(self.shuffle).st_mode & 0o777, 0o750)

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
        self.refused(errno.ENOENT, os.stat, f"{self.mount}/nodes")
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
            if os.path.isfile(f"{info}/{name}") and name != "client-report":
                self.assertGreater(len(read(f"{info}/{name}")), 0, name)
        self.assertIn(b"shufflefs_commits_total", read(f"{info}/metrics"))
        self.assertEqual(read(f"{info}/node"), b"n1\n")

    def test_owners_of_a_shuffle_that_need_not_exist(self):
        owners = f"{self.mount}/.shufflefs/owners"
        self.assertEqual(os.listdir(owners), [])
        lines = read(f"{owners}/nobody,3,1000").decode().splitlines()
        ranges = [tuple(map(int, line.split()[:2])) for line in lines]
        self.assertEqual([partition for first, last in ranges for partition in range(first, last + 1)], list(range(1000)))
        self.assertEqual({line.split()[2] for line in lines}, {"n1"})
        for name in ("nobody,3,0", "nobody,3", "nobody,03,1", "nobody,3,16777217", "a/b,3,1", ",3,1"):
            self.refused(errno.ENOENT, os.stat, f"{owners}/{name}")

    def test_reports_of_the_spark_client(self):
        report = f"{self.mount}/.shufflefs/client-report"
        merged = self.metric("shufflefs_client_read_merged_bytes_total")
        for text in (b"merged 2 70 corrupt 1 5\n", b"merged 1 1\n"):
            with open(report, "wb", buffering=0) as file:
                file.write(text)
        # The text of the metrics may be a second old.
        # The text of the metrics may be a second old.
        until(lambda: self.metric("shufflefs_client_read_merged_bytes_total") - merged == 71, "both reports count")
        with open(report, "wb", buffering=0) as file:
            self.refused(errno.EINVAL, file.write, b"merged 1\n")
            self.refused(errno.EINVAL, file.write, b"merged 1 1 " * 1000)

    def metric(self, name):
        for line in read(f"{self.mount}/.shufflefs/metrics").decode().splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
        self.fail(f"no metric {name}")


class WithoutAttributes(NamespaceCase):
    flags = ("--xattrs=false",)

    def test_there_are_none_and_nobody_asks(self):
        path = f"{self.mount}/local/disk0/f"
        with open(path, "wb", buffering=0) as file:
            for _ in range(100):
                file.write(b"x")
                os.fstat(file.fileno())
        for call, *arguments in ((os.setxattr, path, "user.a", b"b"), (os.getxattr, path, "user.a"), (os.listxattr, path),
                                 (os.removexattr, path, "user.a"), (os.getxattr, self.shuffle, "user.shufflefs.maps")):
            with self.subTest(call=call.__name__):
                self.refused(errno.EOPNOTSUPP, call, *arguments)
        metrics = read(f"{self.mount}/.shufflefs/metrics").decode()
        asked = re.search(r'^shufflefs_mount_request_seconds_count{operation="getxattr"} (\d+)', metrics, re.MULTILINE)
        self.assertLess(int(asked[1]), 5)

    def test_map_outputs_are_committed(self):
        self.commit(1, {0: b"abc"})
        self.assertEqual(read(f"{self.partitions}/0"), b"abc")


class Jars(NamespaceCase):
    @classmethod
    def setUpClass(cls):
        cls.jars = tempfile.mkdtemp(prefix="shufflefs-jars-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.jars)
        cls.daemon = Daemon("--client-dir", cls.jars)
        cls.mount = cls.daemon.mount

    def test_the_jars_of_the_spark_client(self):
        content = os.urandom(3 << 20)
        write(f"{self.jars}/shufflefs-spark_2.12.jar", content)
        write(f"{self.jars}/.hidden", b"x")
        os.mkdir(f"{self.jars}/folder")
        client = f"{self.mount}/.shufflefs/client"
        self.assertEqual(os.listdir(client), ["shufflefs-spark_2.12.jar"])
        self.assertEqual(os.path.getsize(f"{client}/shufflefs-spark_2.12.jar"), len(content))
        self.assertEqual(read(f"{client}/shufflefs-spark_2.12.jar"), content)
        for name in (".hidden", "folder", "other.jar"):
            self.refused(errno.ENOENT, os.stat, f"{client}/{name}")
        self.refused(errno.EROFS, os.open, f"{client}/shufflefs-spark_2.12.jar", os.O_WRONLY)


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
            (os.mkdir, f"{self.mount}/.shufflefs/new"), (os.rmdir, f"{self.mount}/.shufflefs"),
            (os.rmdir, f"{self.mount}/shuffles"), (os.unlink, f"{self.mount}/.shufflefs/version"),
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

    def test_what_is_gone_cannot_be_opened(self):
        """Also by who has found its name before: no look-up comes first then."""
        self.commit(1, {0: b"a", 3: b"b"})
        found = [os.open(f"{self.partitions}/{name}", os.O_PATH) for name in ("0", "3", "3.merged", "3.index")]
        os.rmdir(self.shuffle)
        for fd in found:
            self.refused(errno.ENOENT, read, f"/proc/self/fd/{fd}")
        os.mkdir(self.shuffle)
        self.commit(1, {0: b"c"})  # fewer partitions than before
        self.assertEqual(read(f"/proc/self/fd/{found[0]}"), b"c")
        for fd in found[1:]:
            self.refused(errno.ENOENT, read, f"/proc/self/fd/{fd}")
        for fd in found:
            os.close(fd)

    def test_what_is_open_is_read_to_its_end(self):
        self.commit(1, {0: b"x" * 300_000})
        until(lambda: self.attribute(self.shuffle, "merged") == "1", "it is merged")
        with open(f"{self.partitions}/0", "rb", buffering=0) as file:
            os.rmdir(self.shuffle)
            self.assertEqual(os.fstat(file.fileno()).st_size, 300_000)


class CheckedReads(NamespaceCase):
    """The kernel reads a merged file by itself only after it was compared with its checksums."""

    def passed(self):
        metrics = read(f"{self.mount}/.shufflefs/metrics").decode()
        return int(float(re.search(r"^shufflefs_passthrough_opens_total (.*)$", metrics, re.MULTILINE)[1]))

    def merge(self, *blocks):
        for map_id, block in enumerate(blocks):
            self.commit(map_id, {0: block})
        until(lambda: self.attribute(self.shuffle, "merged") == str(len(blocks)), "all is merged")
        return f"{self.partitions}/0"

    def damage(self, offset):
        with open(f"{self.daemon.data}/merged/{self.app}/0-0/0.data", "r+b") as file:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1]))

    def test_each_open_is_passed_through(self):
        path = self.merge(b"one", b"two" * 1000)
        content = read(path)
        self.assertEqual(len(content), 3003)
        before = self.passed()
        for _ in range(3):
            self.assertEqual(read(path), content)
            self.assertEqual(read(f"{path}.merged"), content)
        self.assertEqual(self.passed(), before + 6)

    def test_damage_is_not_shown(self):
        path = self.merge(b"one" * 1000, b"two" * 1000)
        content = read(path)
        for offset in (0, 3500):  # also after it was checked once
            self.damage(offset)
            self.assertEqual(read(path), content)
            self.assertNotEqual(read(f"{path}.merged"), content)

    def test_a_large_one_is_checked_meanwhile(self):
        path = self.merge(os.urandom(20 << 20), os.urandom(3 << 20))
        content = read(f"{path}.merged")
        before = self.passed()
        self.assertEqual(read(path), content)

        def passed_through():
            self.assertEqual(read(path), content)
            return self.passed() > before
        until(passed_through, "it has been checked")
        self.damage(21 << 20)
        self.assertEqual(read(path), content)


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

    def test_any_user_can_report_what_it_has_read(self):
        os.chmod(self.daemon.directory, 0o755)
        done = self.as_user(f"echo merged 1 2 > {self.mount}/.shufflefs/client-report")  # with O_TRUNC
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_nobody_sees_into_the_application_of_another(self):
        os.chmod(self.daemon.directory, 0o755)
        base = f"{self.mount}/shuffles/{self.app}"
        for command in (f"ls {base}", f"ls {base}/0/partitions", f"cat {base}/0/status", f"cat {base}/0/partitions/0",
                        f"mkdir {base}/1", f"touch {base}/0/maps/.x"):
            done = self.as_user(command)
            self.assertNotEqual(done.returncode, 0, command)
            self.assertIn("Permission denied", done.stderr, command)
        self.assertEqual(self.as_user(f"ls {self.mount}/shuffles").returncode, 0)

    def test_an_application_belongs_to_one_user(self):
        """Also where it is not the virtual tree that keeps others out: Spark's files under local/."""
        os.chmod(self.daemon.directory, 0o755)
        base = f"{self.mount}/shuffles/user-{self.app}"
        self.assertEqual(self.as_user(f"mkdir -p {base}/0/maps/.t; printf abc > {base}/0/maps/.t/0; "
                                      f"mv {base}/0/maps/.t {base}/0/maps/1").stderr, "")
        self.assertEqual((os.stat(base).st_uid, os.stat(base).st_mode & 0o7777), (12345, 0o750))
        partition = os.stat(f"{base}/0/partitions/0")
        self.assertEqual((partition.st_uid, partition.st_gid, partition.st_mode & 0o7777), (12345, 12345, 0o440))
        # Root's output of the same application is no part of it.
        os.mkdir(f"{base}/0/maps/.r")
        write(f"{base}/0/maps/.r/0", b"root's")
        with self.assertRaises(OSError) as raised:
            os.rename(f"{base}/0/maps/.r", f"{base}/0/maps/2")
        self.assertEqual(raised.exception.errno, errno.EINVAL)
        self.assertIn("belong to one user", self.daemon.log())
        self.assertEqual(read(f"{base}/0/partitions/0"), b"abc")

    def test_merged_files_are_for_root_only_on_the_disk(self):
        self.assertEqual(os.stat(f"{self.daemon.data}/merged").st_mode & 0o777, 0o700)

    def test_nobody_removes_the_application_of_another(self):
        os.chmod(self.daemon.directory, 0o755)
        self.assertNotEqual(self.as_user(f"rmdir {self.mount}/shuffles/{self.app}").returncode, 0)
        self.assertTrue(os.path.exists(self.shuffle))


if __name__ == "__main__":
    unittest.main()
