"""Commits through the mount of one real node: directories, pairs of files, Spark's files; and what is refused."""

import errno
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
import unittest

from one_node import Daemon, NamespaceCase, index_of, read, until, write


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


class Unchangeable(NamespaceCase):
    """What is committed cannot be changed by any way that was opened before or is tried after."""

    def assert_unchanged(self, *paths):
        for path in paths:
            for call, *arguments in ((os.chmod, path, 0o600), (os.chown, path, 1, 1), (os.utime, path),
                                     (os.setxattr, path, "user.x", b"1"), (os.link, path, f"{self.maps}/.link")):
                if call is os.link and os.path.isdir(path):
                    continue
                with self.subTest(path=path, call=call.__name__):
                    self.refused(errno.EROFS, call, *arguments)

    def test_open_for_writing(self):
        temporary = self.temporary(".tmp-7", {0: b"abc", 1: b"d"})
        for flags in (os.O_WRONLY, os.O_RDWR | os.O_APPEND):
            fd = os.open(f"{temporary}/0", flags)
            self.refused(errno.EBUSY, os.rename, temporary, f"{self.maps}/7")
            os.close(fd)
        self.assertIn("commit.refused", self.daemon.log())
        reader = os.open(f"{temporary}/0", os.O_RDONLY)
        os.rename(temporary, f"{self.maps}/7")
        self.refused(errno.EROFS, os.fchmod, reader, 0o600)
        os.close(reader)
        self.assertEqual(read(f"{self.partitions}/0"), b"abc")

    def test_mapped_for_writing(self):
        temporary = self.temporary(".tmp-7", {0: b"abc"})
        with open(f"{temporary}/0", "r+b") as file:
            mapped = mmap.mmap(file.fileno(), 3)
        self.refused(errno.EBUSY, os.rename, temporary, f"{self.maps}/7")
        mapped.close()
        os.rename(temporary, f"{self.maps}/7")

    def test_a_second_name(self):
        temporary = self.temporary(".tmp-7", {0: b"abc"})
        os.link(f"{temporary}/0", f"{self.maps}/.kept")
        self.refused(errno.EMLINK, os.rename, temporary, f"{self.maps}/7")
        os.unlink(f"{self.maps}/.kept")
        os.rename(temporary, f"{self.maps}/7")

    def test_what_is_no_file(self):
        temporary = self.temporary(".tmp-7", {})
        write(f"{self.maps}/.elsewhere", b"abc")
        os.symlink(f"{self.maps}/.elsewhere", f"{temporary}/0")
        self.refused(errno.EINVAL, os.rename, temporary, f"{self.maps}/7")

    def test_after_the_commit(self):
        self.commit(7, {0: b"abc"})
        self.assert_unchanged(f"{self.maps}/7/0", f"{self.maps}/7")
        self.refused(errno.EROFS, os.truncate, f"{self.maps}/7/0", 1)
        write(f"{self.maps}/.other", b"x")
        self.refused(errno.EROFS, os.link, f"{self.maps}/.other", f"{self.maps}/7/1")
        self.assertEqual(read(f"{self.partitions}/0"), b"abc")
        shutil.rmtree(f"{self.maps}/7")

    def test_pairs(self):
        write(f"{self.maps}/.1.data", b"abcde")
        os.link(f"{self.maps}/.1.data", f"{self.maps}/.kept")
        self.refused(errno.EMLINK, os.link, f"{self.maps}/.1.data", f"{self.maps}/1.data")
        self.refused(errno.EMLINK, os.rename, f"{self.maps}/.1.data", f"{self.maps}/1.data")
        os.unlink(f"{self.maps}/.kept")
        os.rename(f"{self.maps}/.1.data", f"{self.maps}/1.data")
        write(f"{self.maps}/.1.index", index_of([3, 2]))
        # The other half counts as well: both are committed by this rename.
        writer = os.open(f"{self.maps}/1.data", os.O_WRONLY)
        self.refused(errno.EBUSY, os.rename, f"{self.maps}/.1.index", f"{self.maps}/1.index")
        os.close(writer)
        os.link(f"{self.maps}/1.data", f"{self.maps}/.kept")
        self.refused(errno.EMLINK, os.rename, f"{self.maps}/.1.index", f"{self.maps}/1.index")
        os.unlink(f"{self.maps}/.kept")
        os.rename(f"{self.maps}/.1.index", f"{self.maps}/1.index")
        self.assertEqual(read(f"{self.partitions}/1"), b"de")
        self.assert_unchanged(f"{self.maps}/1.data", f"{self.maps}/1.index")

    def test_in_place_the_last_close_of_both_commits(self):
        data = open(f"{self.maps}/1.data", "wb")
        data.write(b"abcde")
        data.flush()
        write(f"{self.maps}/1.index", index_of([3, 2]))
        data.seek(0)
        data.write(b"ABCDE")  # nothing is committed yet
        data.close()
        until(lambda: self.attribute(self.shuffle, "maps") == "1", "it is committed")
        self.assertEqual(read(f"{self.partitions}/1"), b"DE")

    def test_in_place_with_a_second_name(self):
        write(f"{self.maps}/1.data", b"abcde")
        os.link(f"{self.maps}/1.data", f"{self.maps}/.kept")
        write(f"{self.maps}/1.index", index_of([3, 2]))
        metrics = f"{self.mount}/.shufflefs/metrics"
        until(lambda: b"\nshufflefs_open_files 0\n" in read(metrics), "the daemon has heard of all closes")
        self.assertEqual(self.attribute(self.shuffle, "maps"), "0")
        os.unlink(f"{self.maps}/.kept")
        write(f"{self.maps}/1.index", index_of([3, 2]))
        until(lambda: self.attribute(self.shuffle, "maps") == "1", "it is committed")

    def test_shells(self):
        script = "for i in 1 2 3 4 5 6 7 8 9; do mkdir .t$i && echo abc > .t$i/0 && mv .t$i $i || exit 1; done"
        done = subprocess.run(["sh", "-c", script], cwd=self.maps, capture_output=True, text=True, check=False)
        self.assertEqual(done.stderr, "")
        self.assertEqual(read(f"{self.partitions}/0"), b"abc\n" * 9)

    def test_a_new_worker_knows_who_writes(self):
        temporary = self.temporary(".tmp-7", {0: b"abc"})
        fd = os.open(f"{temporary}/0", os.O_WRONLY)
        worker = self.daemon.worker()
        os.kill(worker, signal.SIGKILL)
        until(lambda: self.daemon.worker() not in (None, worker), "there is a new worker")
        self.refused(errno.EBUSY, os.rename, temporary, f"{self.maps}/7")
        os.close(fd)
        os.rename(temporary, f"{self.maps}/7")
        self.assertEqual(read(f"{self.partitions}/0"), b"abc")


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


class SparkFilesByFuse(SparkFiles):
    flags = ("--local-mode", "fuse")


class Quota(NamespaceCase):
    """An application above its quota gets EDQUOT for what is new; others notice nothing."""

    flags = ("--app-quota=1M",)

    def test_it_hits_the_culprit_only(self):
        executor = f"{self.mount}/local/disk0/blockmgr-{self.app}"
        os.mkdir(executor)
        os.setxattr(executor, "user.shufflefs.app", self.app.encode())
        running = os.open(f"{executor}/running", os.O_CREAT | os.O_WRONLY)
        self.commit(1, {0: b"x" * (1 << 20)})
        self.refused(errno.EDQUOT, os.mkdir, f"{self.maps}/.tmp-2")
        self.refused(errno.EDQUOT, write, f"{self.maps}/2.data", b"x")
        self.refused(errno.EDQUOT, write, f"{executor}/new", b"x")
        # What is open goes on, and so does whoever only reads.
        self.assertEqual(os.write(running, b"x" * 1000), 1000)
        os.close(running)
        self.assertEqual(len(read(f"{self.partitions}/0")), 1 << 20)
        self.assertIn("app.over_quota", self.daemon.log())
        other = f"{self.mount}/shuffles/other-{self.app}/0/maps"
        os.makedirs(f"{other}/.tmp-1")
        os.rename(f"{other}/.tmp-1", f"{other}/1")
        # What is removed counts no more.
        shutil.rmtree(f"{self.maps}/1")
        write(f"{executor}/new", b"x")
        os.mkdir(f"{self.maps}/.tmp-2")


if __name__ == "__main__":
    unittest.main()
