"""local-mode = bind: the disk's directory lies over local/disk0, and the kernel says what happens in it."""

import errno
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import unittest.mock

from one_node import Daemon, NamespaceCase, index_of, read, run, until, write

QUEUE = "/proc/sys/fs/fanotify/max_queued_events"


def is_bound(daemon):
    return os.path.ismount(f"{daemon.mount}/local/disk0")


class Executor:
    """What Spark does in the local directory of an executor."""

    def __init__(self, mount, app):
        self.app = app
        self.root = f"{mount}/local/disk0/blockmgr-{app}"
        self.mount = mount
        self.expected = {}  # map id -> the block of partition 0
        os.makedirs(f"{self.root}/0a")
        os.setxattr(self.root, "user.shufflefs.app", app.encode())

    def base(self, map_id):
        return f"{self.root}/0a/shuffle_0_{map_id}_0"

    def commit(self, map_id, block):
        base = self.base(map_id)
        write(f"{base}.index.tmp", index_of([len(block), 1]))
        write(f"{base}.data.tmp", block + b"!")
        os.rename(f"{base}.index.tmp", f"{base}.index")
        os.rename(f"{base}.data.tmp", f"{base}.data")
        self.expected[map_id] = block

    def remove(self, map_id):
        os.unlink(f"{self.base(map_id)}.data")
        os.unlink(f"{self.base(map_id)}.index")
        del self.expected[map_id]

    def partition(self):
        """The blocks of partition 0, sorted."""
        try:
            content = read(f"{self.mount}/shuffles/{self.app}/0/partitions/0")
        except FileNotFoundError:
            return []
        return sorted(block for block in content.split(b";") if block)

    def blocks(self):
        return sorted(block[:-1] for block in self.expected.values())


class Bound(NamespaceCase):
    flags = ("--local-mode", "bind")

    def setUp(self):
        super().setUp()
        until(lambda: is_bound(self.daemon), "the directory is bound")
        self.executor = Executor(self.mount, f"spark-{self.app}")

    def assert_read(self, what):
        until(lambda: self.executor.partition() == self.executor.blocks(), what)

    def test_it_is_the_disk_itself(self):
        self.assertEqual(os.stat(f"{self.mount}/local/disk0").st_dev, os.stat(f"{self.daemon.data}/local").st_dev)
        self.assertEqual(os.stat(f"{self.mount}/local/disk0").st_ino, os.stat(f"{self.daemon.data}/local").st_ino)
        self.assertIn("local/: bind (as configured)",
                      run(self.daemon.command()[0], "status", "--http",
                          self.daemon.command()[self.daemon.command().index("--http-listen") + 1]).stdout)

    def test_a_commit_is_in_the_partition_when_its_rename_has_returned(self):
        self.executor.commit(0, b"0;")
        self.assert_read("the shuffle is known")
        for map_id in range(1, 200):
            self.executor.commit(map_id, b"%d;" % map_id)
            self.assertEqual(self.executor.partition(), self.executor.blocks())

    def test_a_removal_and_a_new_commit_of_the_same_map(self):
        for map_id in range(3):
            self.executor.commit(map_id, b"%d;" % map_id)
        self.executor.remove(1)
        self.assert_read("the removal is seen")
        self.executor.commit(1, b"again;")
        self.executor.commit(2, b"replaced;")
        self.assert_read("the new files are seen")

    def test_links_and_files_written_in_place(self):
        base = self.executor.base(5)
        write(f"{base}.index", index_of([2, 0]))
        write(f"{base}.data", b"5;")
        self.executor.expected[5] = b"5;"
        other = f"{self.executor.root}/0a/other"
        write(f"{other}.index", index_of([2, 0]))
        write(f"{other}.data", b"6;")
        for kind in ("index", "data"):
            os.link(f"{other}.{kind}", f"{self.executor.base(6)}.{kind}")
        self.executor.expected[6] = b"6;"
        self.assert_read("both are seen")

    def test_a_directory_that_goes_as_a_whole(self):
        for map_id in range(20):
            self.executor.commit(map_id, b"%d;" % map_id)
        self.assert_read("they are seen")
        shutil.rmtree(self.executor.root)
        until(lambda: not os.path.exists(f"{self.mount}/shuffles/{self.executor.app}/0/maps/3.data"), "they are gone")

    def test_an_application_that_is_named_later(self):
        os.removexattr(self.executor.root, "user.shufflefs.app")
        self.executor.commit(1, b"1;")
        time.sleep(0.05)
        os.setxattr(self.executor.root, "user.shufflefs.app", self.executor.app.encode())
        self.assert_read("it is found")


class Life(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--local-mode", "bind")
        self.addCleanup(self.daemon.stop)
        self.executor = Executor(self.daemon.mount, "app")

    def assert_read(self, what):
        until(lambda: self.executor.partition() == self.executor.blocks(), what)

    def without_worker(self, act):
        os.kill(self.daemon.process.pid, signal.SIGSTOP)  # it starts no new one
        worker = self.daemon.worker()
        os.kill(worker, signal.SIGKILL)
        until(lambda: read(f"/proc/{worker}/stat").split()[2] == b"Z", "the worker has ended")
        act()
        os.kill(self.daemon.process.pid, signal.SIGCONT)

    def test_commits_while_no_worker_lives(self):
        for map_id in range(4):
            self.executor.commit(map_id, b"%d;" % map_id)
        self.assert_read("they are seen")

        def act():
            with open(f"{self.executor.root}/open", "wb") as file:
                file.write(b"x")
            self.executor.commit(4, b"4;")
            self.executor.commit(2, b"replaced;")

        self.without_worker(act)
        self.assert_read("all of it is seen")
        self.assertTrue(is_bound(self.daemon))

    def test_a_removal_while_no_worker_lives_is_an_error_and_not_a_shorter_read(self):
        for map_id in range(4):
            self.executor.commit(map_id, b"%d;" % map_id)
        self.assert_read("they are seen")
        self.daemon.process.send_signal(signal.SIGTERM)
        self.daemon.process.wait(30)
        os.unlink(f"{self.daemon.data}/local/blockmgr-app/0a/shuffle_0_1_0.data")
        self.daemon.start()
        try:
            self.assertEqual(self.executor.partition(), self.executor.blocks())  # its merged copy
        except OSError as error:
            self.assertEqual(error.errno, errno.EIO)

    def test_more_than_the_queue_holds(self):
        before = read(QUEUE)
        self.daemon.stop()
        try:
            write(QUEUE, b"8")
            self.daemon = Daemon("--local-mode", "bind")
            self.addCleanup(self.daemon.stop)
        finally:
            write(QUEUE, before)
        self.executor = Executor(self.daemon.mount, "app")
        for map_id in range(10):
            self.executor.commit(map_id, b"%d;" % map_id)
        self.assert_read("they are seen")
        worker = self.daemon.worker()
        os.kill(worker, signal.SIGSTOP)
        self.executor.remove(3)
        self.executor.commit(5, b"replaced;")
        for map_id in range(10, 40):
            self.executor.commit(map_id, b"%d;" % map_id)
        os.kill(worker, signal.SIGCONT)
        self.assert_read("nothing is missing")
        self.assertIn("local.events_lost", self.daemon.log())

    def test_somebody_unmounts_it(self):
        self.executor.commit(1, b"1;")
        subprocess.run(["umount", "-l", f"{self.daemon.mount}/local/disk0"], check=True)
        self.executor.commit(2, b"2;")  # by the mount's own directory
        self.assert_read("both are seen")
        until(lambda: is_bound(self.daemon), "it is bound again")
        self.executor.commit(3, b"3;")
        self.assert_read("all are seen")

    def test_the_end(self):
        self.executor.commit(1, b"1;")
        self.daemon.process.send_signal(signal.SIGTERM)
        self.daemon.process.wait(30)
        self.assertNotIn(self.daemon.mount, read("/proc/self/mountinfo").decode())
        self.daemon.start()
        self.assert_read("it is there again")

    def test_a_killed_supervisor(self):
        self.executor.commit(1, b"1;")
        worker = self.daemon.worker()
        self.daemon.process.kill()
        self.daemon.process.wait(30)
        until(lambda: not os.path.exists(f"/proc/{worker}"), "the worker has ended too")
        self.daemon.start()
        until(lambda: is_bound(self.daemon), "it is bound")
        self.assertEqual(read("/proc/self/mountinfo").decode().count(self.daemon.mount), 2)
        self.executor.commit(2, b"2;")
        self.assert_read("both are seen")


class Pods(unittest.TestCase):
    """A mount namespace that follows another, as a container with mountPropagation: HostToContainer does."""

    def test_what_is_bound_later_is_seen_in_them(self):
        shared = tempfile.mkdtemp(prefix="shufflefs-shared-", dir="/var/tmp")
        self.addCleanup(os.rmdir, shared)
        subprocess.run(["mount", "--bind", shared, shared], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", shared], check=True)
        subprocess.run(["mount", "--make-shared", shared], check=True)
        with subprocess.Popen(["unshare", "-m", "--propagation", "slave", "sleep", "300"]) as pod:
            self.addCleanup(pod.kill)
            until(lambda: os.readlink(f"/proc/{pod.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"), "the pod is there")
            with unittest.mock.patch.dict(os.environ, {"TMPDIR": shared}):
                daemon = Daemon("--local-mode", "bind")
            self.addCleanup(daemon.stop)
            in_pod = f"/proc/{pod.pid}/root{daemon.mount}/local/disk0"
            until(lambda: os.stat(in_pod).st_dev == os.stat(f"{daemon.data}/local").st_dev, "the pod sees the disk")
            write(f"{in_pod}/f", b"x")
            self.assertEqual(read(f"{daemon.data}/local/f"), b"x")
            daemon.stop()
            self.assertFalse(os.path.exists(in_pod))
            pod.kill()


if __name__ == "__main__":
    unittest.main()
