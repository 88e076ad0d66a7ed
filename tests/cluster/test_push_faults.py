"""Pushing while real daemons are killed, paused and cut off, while a disk fills and another dies, and while a node drains:
no reader ever gets anything wrong, and what can be merged is merged in the end."""

import fcntl
import glob
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import unittest

import raw_peer
from private_network import enter_private_network
from shuffle_cluster import PROGRAM, Cluster, make_blocks, maps_in, until

SHUFFLE = "app-1/0"
SIZES = [100, 0, 5000, 40_000, 300_000, 60, 7000, 20_000]
MIB = 1 << 20
EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH = 0x8004587D, 2


class PushFaults(unittest.TestCase):
    def write_maps(self, cluster, nodes, maps, sizes=None, shuffle=SHUFFLE):
        for map_id in maps:
            cluster.write_files(nodes[map_id % len(nodes)], shuffle, map_id, make_blocks(map_id, sizes or SIZES))

    def lies_on_first_disk(self, cluster, shuffle, second):
        """Writes map 0 of the shuffle; true if it is not on the second disk."""
        self.write_maps(cluster, [0], [0], shuffle=shuffle)
        return not os.path.exists(f"{second}/maps/{shuffle}")

    def check_all(self, cluster, nodes, maps, sizes=None, shuffle=SHUFFLE):
        for node in nodes:
            for partition, size in enumerate(sizes or SIZES):
                content = cluster.read_partition(node, shuffle, partition)
                self.assertEqual(sorted(maps_in(content, partition)), sorted(maps) if size else [],
                                 f"partition {partition} on node {node}")

    def has_told(self, cluster, node):
        """From then on the others can answer for it: they know all that it has."""
        cluster.write_files(node, "told/0", 0, make_blocks(0, SIZES))
        until(lambda: cluster.metric(node, "shufflefs_announce_pending") == 0, f"node{node + 1} has told the others")

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
            self.has_told(cluster, 2)
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
            self.has_told(cluster, 1)
            drop = ["INPUT", "-p", "tcp", "-d", cluster.nodes[1]["address"], "--dport", str(cluster.nodes[1]["peer_port"]),
                    "-j", "DROP"]
            subprocess.run(["iptables", "-A", *drop], check=True, timeout=60)
            self.write_maps(cluster, [0, 2], range(8))
            until(lambda: cluster.metric(0, "shufflefs_push_left_alone_total") > 0, "node2 is left alone")
            self.check_all(cluster, (0, 2), range(8))
            subprocess.run(["iptables", "-D", *drop], check=True, timeout=60)
            cluster.wait_for_maps(0, SHUFFLE, 8)
            self.check_all(cluster, range(3), range(8))

    def small_disk(self, megabytes):
        place = tempfile.mkdtemp(prefix="shufflefs-small-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place], check=True, timeout=60)
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=False, timeout=60, capture_output=True)
        return place

    def test_a_small_disk_fills_and_only_merging_suffers(self):
        place = self.small_disk(256)
        with Cluster(1, "--disk.reserve=32M", below=place) as cluster:
            # They fit once, and not twice.
            maps, sizes = 32, [MIB // 2] * 8
            def write_soon(write):
                """Room for it comes within a moment: what is merged gives way. The daemon looks once a second, so that merging
                may take the last of it meanwhile; therefore much less is written than there was room for."""
                until(lambda: os.statvfs(place).f_bavail * os.statvfs(place).f_frsize > 20 * MIB, "there is room")
                write()

            for map_id in range(maps):
                write_soon(lambda map_id=map_id: self.write_maps(cluster, [0], [map_id], sizes))
            until(lambda: cluster.metric(0, 'shufflefs_disk_takes_merged{disk="disk0"}') == 0
                  or cluster.metric(0, "shufflefs_merge_evictions_total") > 0, "the disk is felt to be full")
            for number in range(16):
                with open(cluster.path(0, "local", "disk0", f"own{number}"), "wb") as file:
                    write_soon(lambda file=file: file.write(os.urandom(4 * MIB)))
            cluster.run(0, "wait", SHUFFLE, "--maps", str(maps), "--timeout", "60s")
            self.check_all(cluster, [0], range(maps), sizes)

    @unittest.skipUnless(shutil.which("mkfs.ext4") and os.path.exists("/dev/loop-control"), "needs ext4 and loop devices")
    def test_a_disk_with_io_errors_leaves(self):
        """Every operation fails with EIO from one moment on, as on a disk that has died."""
        sick = tempfile.mkdtemp(prefix="shufflefs-sick-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, sick, ignore_errors=True)
        image, data = os.path.join(sick, "image"), os.path.join(sick, "data")
        os.mkdir(data)
        # As empty as the other disk, else nothing is placed on it.
        space = os.statvfs(sick)
        with open(image, "wb") as file:
            file.truncate(space.f_bavail * space.f_frsize)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", "-N", "10000", "-E", "lazy_itable_init=1", image], check=True, timeout=60)
        subprocess.run(["mount", "-o", "loop", image, data], check=True, timeout=60)
        self.addCleanup(subprocess.run, ["umount", "-l", data], check=False, timeout=60, capture_output=True)
        # One node, so that the second data directory is this node's alone.
        with Cluster(1, "--data", data, "--disk.reserve=1M") as cluster:
            # Map outputs on the first disk, merged partitions on both.
            shuffle = next(name for name in (f"app-{i}/0" for i in range(100)) if self.lies_on_first_disk(cluster, name, data))
            self.write_maps(cluster, [0], range(1, 4), shuffle=shuffle)
            cluster.wait_for_maps(0, shuffle, 4)
            self.assertTrue(glob.glob(f"{data}/merged/{shuffle}-*/*.data"), "nothing was merged onto the second disk")
            directory = os.open(data, os.O_RDONLY)
            try:
                fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_GOING_FLAGS_NOLOGFLUSH))
            finally:
                os.close(directory)
            self.write_maps(cluster, [0], [4, 5], shuffle=shuffle)
            cluster.wait_for_maps(0, shuffle, 6)
            self.assertEqual(cluster.metric(0, 'shufflefs_disk_failed{disk="disk1"}'), 1)
            self.assertIn("disk.failed", cluster.log(0))
            self.check_all(cluster, [0], range(6), shuffle=shuffle)

    def test_peers_that_dribble_or_never_read_hold_up_nobody(self):
        """Strangers take all memory for requests and for answers; when their time is up everybody else goes on."""
        with Cluster(2, "--memory=32M", "--push.max-retries=100") as cluster:
            self.write_maps(cluster, [1], [0], [4 * MIB] * 4)
            cluster.wait_for_maps(0, SHUFFLE, 1)
            node = cluster.nodes[0]
            merged = next(p for p in range(4) if os.getxattr(
                cluster.path(0, "shuffles", SHUFFLE, "partitions", str(p)), "user.shufflefs.owner") == b"node1")
            strangers = []
            for number in range(3):
                dribbler = raw_peer.connect(node, f"dribbler{number}")
                dribbler.sendall(raw_peer.push_head(f"dribbler{number}", "app-2", 3 * MIB))
                deaf = raw_peer.connect(node, f"deaf{number}", receive_buffer=4096)
                for _ in range(4):
                    deaf.sendall(raw_peer.frame_head(raw_peer.READ_MERGED, ["app-1", 0, merged, 0, 4 * MIB]))
                strangers += [dribbler, deaf]
            until(lambda: cluster.metric(0, 'shufflefs_memory_share_used_bytes{purpose="receive"}') > 5 * MIB,
                  "the dribblers have the memory for requests")
            until(lambda: cluster.metric(0, 'shufflefs_memory_share_used_bytes{purpose="serve"}') > 0,
                  "the deaf have memory for answers")
            self.write_maps(cluster, [1], range(1, 4), [4 * MIB] * 4)
            for _ in range(20):
                for dribbler in strangers[::2]:
                    dribbler.send(b"x")
            cluster.wait_for_maps(0, SHUFFLE, 4)
            self.check_all(cluster, range(2), range(4), [4 * MIB] * 4)
            for purpose in ("receive", "serve"):
                until(lambda purpose=purpose: cluster.metric(0, f'shufflefs_memory_share_used_bytes{{purpose="{purpose}"}}') == 0,
                      f"the memory to {purpose} is free again")
            for stranger in strangers:
                stranger.close()

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
