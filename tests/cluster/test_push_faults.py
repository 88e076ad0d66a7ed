"""Pushing while real daemons are killed, paused and cut off, while a disk fills and is read-only, and while a node drains:
no reader ever gets anything wrong, and what can be merged is merged in the end."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

from private_network import enter_private_network
from shuffle_cluster import PROGRAM, Cluster, make_blocks, maps_in, until

SHUFFLE = "app-1/0"
SIZES = [100, 0, 5000, 40_000, 300_000, 60, 7000, 20_000]
MIB = 1 << 20


class PushFaults(unittest.TestCase):
    def write_maps(self, cluster, nodes, maps, sizes=None):
        for map_id in maps:
            cluster.write_files(nodes[map_id % len(nodes)], SHUFFLE, map_id, make_blocks(map_id, sizes or SIZES))

    def check_all(self, cluster, nodes, maps, sizes=None):
        for node in nodes:
            for partition, size in enumerate(sizes or SIZES):
                content = cluster.read_partition(node, SHUFFLE, partition)
                self.assertEqual(sorted(maps_in(content, partition)), sorted(maps) if size else [],
                                 f"partition {partition} on node {node}")

    def up_again(self, cluster):
        done = subprocess.run([PROGRAM, "cluster", "up", "--nodes", str(len(cluster.nodes)), "--dir", cluster.directory],
                              capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        cluster.nodes = cluster.status()

    def test_daemons_killed_in_the_middle_of_pushes(self):
        with Cluster(3, "--push.jitter=200ms") as cluster:
            for victim in range(3):
                self.write_maps(cluster, [0, 1, 2], range(victim * 6, victim * 6 + 6))
                cluster.signal(victim, signal.SIGKILL)
                self.up_again(cluster)
            cluster.wait_for_maps(1, SHUFFLE, 18)
            self.check_all(cluster, range(3), range(18))

    def test_a_paused_owner_is_left_alone_and_taken_back(self):
        with Cluster(3, "--push.max-retries=100") as cluster:
            processes = [cluster.nodes[2]["pid"], *cluster.workers(2)]
            for process in processes:
                os.kill(process, signal.SIGSTOP)
            try:
                self.write_maps(cluster, [0, 1], range(8))
                # Heartbeats end as well, so this is noticed long before a push times out.
                until(lambda: cluster.metric(0, "shufflefs_push_left_alone_total") > 0, "node3 is left alone")
                done = cluster.run(0, "status")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.check_all(cluster, (0, 1), range(8))
            finally:
                for process in processes:
                    os.kill(process, signal.SIGCONT)
            cluster.wait_for_maps(0, SHUFFLE, 8)
            self.check_all(cluster, range(3), range(8))

    @unittest.skipUnless(shutil.which("iptables"), "needs iptables")
    def test_a_node_whose_packets_are_dropped(self):
        """Silence instead of a refusal, and in one direction only: node2 reaches the others."""
        with Cluster(3, "--push.max-retries=100") as cluster:
            drop = ["INPUT", "-p", "tcp", "-d", cluster.nodes[1]["address"], "--dport", str(cluster.nodes[1]["peer_port"]),
                    "-j", "DROP"]
            subprocess.run(["iptables", "-A", *drop], check=True, timeout=60)
            self.write_maps(cluster, [0, 2], range(8))
            until(lambda: cluster.metric(0, "shufflefs_push_left_alone_total") > 0, "node2 is left alone")
            self.check_all(cluster, (0, 2), range(8))
            subprocess.run(["iptables", "-D", *drop], check=True, timeout=60)
            cluster.wait_for_maps(0, SHUFFLE, 8)
            self.check_all(cluster, range(3), range(8))

    def small_disk(self, *below):
        """A `prepare` for Cluster that puts a file system of 64 MiB below its directory, and the way to it."""
        place = []

        def prepare(directory):
            place.append(os.path.join(directory, *below))
            os.makedirs(place[0])
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place[0]], check=True, timeout=60)
            self.addCleanup(subprocess.run, ["umount", "-l", place[0]], check=False, timeout=60, capture_output=True)

        return prepare, place

    def test_a_small_disk_fills_and_only_merging_suffers(self):
        prepare, place = self.small_disk("node1", "data")
        with Cluster(2, "--disk.reserve=8M", prepare=prepare) as cluster:
            # Far more than the small disk has for node1 to merge, all written on node2.
            sizes = [2 * MIB] * 8
            self.write_maps(cluster, [1], range(10), sizes)
            until(lambda: cluster.metric(0, 'shufflefs_disk_takes_merged{disk="disk0"}') == 0
                  or cluster.metric(0, "shufflefs_merge_evictions_total") > 0, "node1 feels its full disk")
            # An application's own writes on the small disk still find room.
            own = cluster.path(0, "local", "disk0", "own")
            with open(own, "wb") as file:
                for _ in range(12):
                    file.write(os.urandom(MIB))
            cluster.run(0, "wait", SHUFFLE, "--maps", "10", "--timeout", "60s")
            self.check_all(cluster, range(2), range(10), sizes)
            self.assertEqual(os.stat(own).st_size, 12 * MIB)
            subprocess.run(["umount", "-l", place[0]], check=True, timeout=60)

    def test_a_disk_that_turns_read_only_leaves(self):
        sick = tempfile.mkdtemp(prefix="shufflefs-sick-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, sick, ignore_errors=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", sick], check=True, timeout=60)
        self.addCleanup(subprocess.run, ["umount", "-l", sick], check=False, timeout=60, capture_output=True)
        # One node, so that the second data directory is this node's alone.
        with Cluster(1, "--data", sick, "--disk.reserve=1M") as cluster:
            self.write_maps(cluster, [0], range(4))
            cluster.wait_for_maps(0, SHUFFLE, 4)
            subprocess.run(["mount", "-o", "remount,ro", sick], check=True, timeout=60)
            self.write_maps(cluster, [0], [4, 5])
            cluster.wait_for_maps(0, SHUFFLE, 6)
            self.assertEqual(cluster.metric(0, 'shufflefs_disk_failed{disk="disk1"}'), 1)
            self.assertIn("disk.failed", cluster.log(0))
            self.check_all(cluster, [0], range(6))

    def test_a_drained_node_is_not_missed(self):
        with Cluster(3) as cluster:
            self.write_maps(cluster, [0, 1, 2], range(9))
            cluster.wait_for_maps(0, SHUFFLE, 9)
            done = cluster.run(2, "drain", "--timeout", "100s")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("safe to stop", done.stdout)
            # Reads go on while it stops, and after.
            failures = []
            stop = threading.Event()

            def read_on():
                while not stop.is_set():
                    try:
                        self.check_all(cluster, [0], range(9))
                    except (OSError, AssertionError) as error:
                        failures.append(repr(error))
                        return

            reader = threading.Thread(target=read_on)
            reader.start()
            cluster.signal(2, signal.SIGKILL)
            self.check_all(cluster, (0, 1), range(9))
            stop.set()
            reader.join()
            self.assertEqual(failures, [])


if __name__ == "__main__":
    enter_private_network()
    unittest.main()
