"""The mount outlives its worker: SIGKILL at random instants under load, an upgrade, the end of the supervisor.

SHUFFLEFS_KILLS: how often the worker is killed in each mode (default 50 in passthrough, half without).
"""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

from one_node import ADDRESS, SHORT, Daemon, read, run, until, write

KILLS = int(os.environ.get("SHUFFLEFS_KILLS", "50"))
LOADS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "takeover_loads.py")


class Loads:
    """Processes that work below a mount until they are told to end."""

    def __init__(self, daemon):
        self.scratch = tempfile.mkdtemp(prefix="shufflefs-loads-")
        self.stop_file = f"{self.scratch}/stop"
        self.processes = []
        self.disk = f"{daemon.mount}/local/disk0"

    def add(self, load, directory=None):
        if directory is None:
            directory = f"{self.disk}/{load}{len(self.processes)}"
            os.mkdir(directory)
        self.processes.append(subprocess.Popen([sys.executable, LOADS, load, directory, self.stop_file],
                                               stdout=subprocess.PIPE, text=True))

    def end(self):
        write(self.stop_file, b"")
        return [json.loads(process.communicate(timeout=SHORT * 2)[0]) for process in self.processes]

    def abandon(self):
        """Whatever has happened: no process stays."""
        for process in self.processes:
            process.kill()
            process.communicate()
        shutil.rmtree(self.scratch)


def kill_worker(daemon):
    def try_once():
        worker = daemon.worker()
        if worker is None:
            return False
        try:
            os.kill(worker, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    before = daemon.log().count("serve.worker_died")
    try:
        until(try_once, "there is a worker to kill")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{daemon.log()[-3000:]}") from error
    until(lambda: daemon.log().count("serve.worker_died") > before, "its death is noticed")


def commit(mount, app, maps):
    shuffle = f"{mount}/shuffles/{app}/0"
    os.makedirs(shuffle)
    for map_id in range(maps):
        os.mkdir(f"{shuffle}/maps/.tmp{map_id}")
        write(f"{shuffle}/maps/.tmp{map_id}/0", random.Random(map_id).randbytes(1 << 20))
        os.rename(f"{shuffle}/maps/.tmp{map_id}", f"{shuffle}/maps/{map_id}")
    return f"{shuffle}/partitions/0"


def is_dead(mount):
    try:
        os.statvfs(mount)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


class KilledWorker(unittest.TestCase):
    def under_load(self, kills, *flags):
        daemon = Daemon(*flags)
        loads = Loads(daemon)
        try:
            partition = commit(daemon.mount, "app", 8)
            for load in ["writer"] * 8 + ["appender", "nameless", "lister"]:
                loads.add(load)
            loads.add("partition_reader", partition)
            chance = random.Random(kills)
            for _ in range(kills):
                time.sleep(chance.uniform(0.02, 0.25))
                kill_worker(daemon)
            results = loads.end()
            log = daemon.log()
            for result in results:
                self.assertIsNone(result["error"], f"{result}\n{log[-3000:]}")
                self.assertGreater(result["rounds"], 0, result)
            self.assertEqual(log.count("serve.worker_died"), kills)
            self.assertNotIn("lost", log.replace("open_files_lost=0", ""))
            rounds = sum(result["rounds"] for result in results if result["load"] == "writer")
            longest = max(result["longest_ms"] for result in results)
            print(f"{kills} kills, {rounds} rounds of 8 writers, no error; longest call {longest} ms", file=sys.stderr)
        finally:
            loads.abandon()
            daemon.stop()

    def test_in_passthrough(self):
        self.under_load(KILLS)

    def test_without_passthrough(self):
        self.under_load(KILLS // 2, "--local-mode", "fuse")

    def test_bound(self):
        self.under_load(KILLS // 2, "--local-mode", "bind")

    def test_nothing_accumulates(self):
        """Open handles, known inodes and backing ids are back to where they were."""
        daemon = Daemon()
        try:
            held = [os.open(f"{daemon.mount}/local/disk0/f{i}", os.O_CREAT | os.O_RDWR, 0o600) for i in range(50)]
            for _ in range(5):
                kill_worker(daemon)
                os.stat(f"{daemon.mount}/local/disk0/f0")
            for fd in held:
                os.write(fd, b"x")
                os.close(fd)
            worker = daemon.worker()
            until(lambda: sum("/f" in link for link in links(worker)) == 0, "every file is closed")
        finally:
            daemon.stop()


def open_files(pid):
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
    return found


def links(pid):
    return [link for link in open_files(pid) if "/local/f" in link]


class FailingWorker(unittest.TestCase):
    def test_a_first_start_that_fails_says_why_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as directory:
            command = ["serve", "--node", "n1", "--mount", f"{directory}/mnt", "--data", f"{directory}/data",
                       "--peer-listen", f"{ADDRESS}:1", "--spark-listen", f"{ADDRESS}:2"]
            first = Daemon()
            try:
                done = run(first.command()[0], *command, "--http-listen", f"{ADDRESS}:7340")
            finally:
                first.stop()
            self.assertEqual(done.returncode, 1)
            self.assertIn("7340", done.stderr)
            self.assertFalse(os.path.ismount(f"{directory}/mnt"))
            os.chmod(f"{directory}/mnt", 0o700)

    def test_without_keep_mount_the_mount_is_made_again(self):
        daemon = Daemon("--keep-mount", "false")
        try:
            self.assertIn("mount.not_kept", daemon.log())
            path = f"{daemon.mount}/local/disk0/file"
            held = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            os.write(held, b"content")
            kill_worker(daemon)
            until(lambda: daemon.log().count("serve.ready") == 2, "another worker serves")
            with self.assertRaises(OSError):
                os.fstat(held)
            os.close(held)
            self.assertEqual(read(path), b"content")
        finally:
            daemon.stop()


class KilledSupervisor(unittest.TestCase):
    def test_a_start_at_once_replaces_what_is_left(self):
        """The kernel still knows the attributes of the mount's root then."""
        daemon = Daemon()
        try:
            for _ in range(3):
                worker = daemon.worker()
                os.stat(daemon.mount)
                os.kill(daemon.process.pid, signal.SIGKILL)
                os.kill(worker, signal.SIGKILL)
                daemon.process.wait(SHORT)
                until(lambda: is_dead(daemon.mount), "the mount is dead")
                daemon.start()
                self.assertIn("disk0", os.listdir(f"{daemon.mount}/local"))
        finally:
            daemon.stop()

    def test_a_new_start_finds_everything(self):
        daemon = Daemon()
        try:
            partition = commit(daemon.mount, "app", 4)
            until(lambda: os.getxattr(partition, "user.shufflefs.merged") == b"4", "everything is merged")
            expected = sorted(random.Random(m).randbytes(1 << 20) for m in range(4))
            write(f"{daemon.mount}/local/disk0/file", b"content")
            worker = daemon.worker()
            daemon.process.kill()
            daemon.process.wait()
            until(lambda: not os.path.exists(f"/proc/{worker}"), "the worker dies with its supervisor")
            with self.assertRaises(OSError) as caught:
                os.stat(f"{daemon.mount}/local/disk0/file")
            self.assertIn(caught.exception.errno, (errno.ENOTCONN, errno.ECONNABORTED))
            daemon.start()
            self.assertIn("mount.stale_detached", daemon.log())
            self.assertEqual(read(f"{daemon.mount}/local/disk0/file"), b"content")
            def blocks_of(path):
                content = read(path)
                return sorted(content[i:i + (1 << 20)] for i in range(0, len(content), 1 << 20))
            self.assertTrue(blocks_of(partition) == expected)  # no assertEqual: it would print megabytes
            # The last bytes of the merged file were in the killed process: they are merged again.
            until(lambda: os.getxattr(partition, "user.shufflefs.merged") == b"4", "everything is merged again")
            self.assertTrue(blocks_of(f"{partition}.merged") == expected)
        finally:
            daemon.stop()
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            self.assertNotIn(daemon.directory, mounts.read())


class Takeover(unittest.TestCase):
    def test_an_upgrade_under_load(self):
        daemon = Daemon()
        loads = Loads(daemon)
        try:
            for load in ["writer"] * 3 + ["appender", "nameless", "lister"]:
                loads.add(load)
            held = os.open(f"{daemon.mount}/local/disk0/held", os.O_CREAT | os.O_RDWR, 0o600)
            for _ in range(3):
                old = daemon.process
                served = daemon.log().count("serve.ready")
                with open(daemon.log_path, "a", encoding="utf-8") as log:
                    daemon.process = subprocess.Popen(daemon.command("--takeover", "--log-level", "debug"), stdout=log,
                                                      stderr=log)
                self.assertEqual(old.wait(SHORT), 0)
                until(lambda: daemon.log().count("serve.ready") > served, "the new one serves")
                os.write(held, b"x")
                time.sleep(0.2)
            kill_worker(daemon)  # the successor supervises as well as the first one did
            until(lambda: daemon.log().count("serve.ready") == 5, "another worker serves")
            self.assertEqual(os.fstat(held).st_size, 3)
            os.close(held)
            for result in loads.end():
                self.assertIsNone(result["error"], f"{result}\n{daemon.log()[-3000:]}")
        finally:
            loads.abandon()
            daemon.stop()
        self.assertEqual(daemon.process.returncode, 0)

    def test_in_a_pod(self):
        """Two pods overlap on a node: the second takes over, the first neither ends nor holds anything of the mount."""
        daemon = Daemon("--in-pod")  # nothing to take over: it mounts
        first = daemon.process
        try:
            held = os.open(f"{daemon.mount}/local/disk0/held", os.O_CREAT | os.O_RDWR, 0o600)
            daemon.start()
            until(lambda: not [link for link in open_files(first.pid) if link.startswith("/dev/fuse")],
                  "the first one has let go of the mount")
            self.assertIsNone(first.poll())
            os.write(held, b"x")
            # The lock of the data directory is the second one's alone.
            daemon.process.kill()
            daemon.process.wait()
            os.close(held)
            daemon.start()
            self.assertEqual(read(f"{daemon.mount}/local/disk0/held"), b"x")
            self.assertIsNone(first.poll())
            first.terminate()
            self.assertEqual(first.wait(SHORT), 0)
            os.stat(f"{daemon.mount}/local/disk0/held")
        finally:
            if first.poll() is None:
                first.kill()
                first.wait()
            daemon.stop()
        self.assertEqual(daemon.process.returncode, 0)

    def test_what_cannot_change_is_refused_by_name(self):
        daemon = Daemon()
        try:
            done = run(*daemon.command("--takeover", "--local-mode", "fuse"))
            self.assertEqual(done.returncode, 2)
            self.assertIn("local-mode", done.stderr)
            self.assertNotIn("mount, ", done.stderr)
            self.assertIsNone(daemon.process.poll())
            os.stat(f"{daemon.mount}/local/disk0")
        finally:
            daemon.stop()

    def test_there_must_be_something_to_take_over(self):
        daemon = Daemon()
        daemon.stop()
        os.makedirs(daemon.data)
        done = run(*daemon.command("--takeover"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("without --takeover", done.stderr)


class Health(unittest.TestCase):
    def ask(self):
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}:7340/readyz", timeout=SHORT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_it_is_a_look_through_the_mount(self):
        daemon = Daemon()
        try:
            self.assertEqual(self.ask(), (200, "ok\n"))
            # The daemon is as well as before, but whoever looks at its path finds something else.
            subprocess.run(["mount", "-t", "tmpfs", "other", daemon.mount], check=True)
            try:
                until(lambda: self.ask()[0] == 503, "it notices")
                self.assertIn("No such file", self.ask()[1])
            finally:
                subprocess.run(["umount", daemon.mount], check=True)
            until(lambda: self.ask()[0] == 200, "it notices that, too")
        finally:
            daemon.stop()


class Stop(unittest.TestCase):
    def test_with_files_open_and_readers_at_work(self):
        daemon = Daemon()
        partition = commit(daemon.mount, "app", 2)
        held = [os.open(f"{daemon.mount}/local/disk0/f{i}", os.O_CREAT | os.O_RDWR, 0o600) for i in range(100)]
        readers = [threading.Thread(target=read_until_it_fails, args=(partition,)) for _ in range(4)]
        for reader in readers:
            reader.start()
        begin = time.monotonic()
        daemon.stop()
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual(daemon.process.returncode, 0, "it stopped by itself")
        for reader in readers:
            reader.join(SHORT)
            self.assertFalse(reader.is_alive())
        for fd in held:
            os.close(fd)


def read_until_it_fails(path):
    try:
        while True:
            read(path)
    except OSError:
        pass


if __name__ == "__main__":
    unittest.main()
