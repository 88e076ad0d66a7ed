"""What happens to readers when daemons die, peers misbehave and shuffles are dropped. Real daemons."""

import errno
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
import unittest

from shuffle_cluster import PROGRAM, Cluster, make_blocks, maps_in, until

SHUFFLE = "app-1/0"
SIZES = [100, 0, 5000, 40_000, 300_000, 60]


class Faults(unittest.TestCase):
    def write_maps(self, cluster, nodes, count=9):
        for map_id in range(count):
            cluster.write_files(nodes[map_id % len(nodes)], SHUFFLE, map_id, make_blocks(map_id, SIZES))

    def test_a_lost_block_is_an_error_and_never_a_short_read(self):
        with Cluster(3, "--push.enabled=false") as cluster:
            self.write_maps(cluster, [0, 1, 2])
            before = cluster.read_partition(1, SHUFFLE, 3)
            # What node3 wrote must be known to the others before it dies.
            until(lambda: all(b"9" == os.getxattr(cluster.path(node, "shuffles", SHUFFLE, "partitions", "3"),
                                                  "user.shufflefs.maps") for node in range(3)), "all maps are seen")
            until(lambda: all(cluster.metric(node, "shufflefs_announce_pending") == 0 for node in range(3)),
                  "every node has told the others of its map outputs")
            cluster.signal(2, signal.SIGKILL)
            for node in (0, 1):
                with self.assertRaises(OSError) as caught:
                    cluster.read_partition(node, SHUFFLE, 3)
                self.assertEqual(caught.exception.errno, errno.EIO)
                self.assertEqual(cluster.read_partition(node, SHUFFLE, 1), b"")
            self.assertIn("partition.incomplete", cluster.log(0))
            self.assertEqual(len(maps_in(before, 3)), 9)

    def test_an_origin_that_dies_after_the_push_is_not_missed(self):
        with Cluster(3) as cluster:
            self.write_maps(cluster, [2])
            cluster.wait_for_maps(0, SHUFFLE, 9)
            owners = [os.getxattr(cluster.path(0, "shuffles", SHUFFLE, "partitions", str(p)), "user.shufflefs.owner")
                      for p in range(len(SIZES))]
            cluster.signal(2, signal.SIGKILL)
            for partition, owner in enumerate(owners):
                if owner == b"node3" or SIZES[partition] == 0:
                    continue
                for node in (0, 1):
                    content = cluster.read_partition(node, SHUFFLE, partition)
                    self.assertEqual(sorted(maps_in(content, partition)), list(range(9)))

    def test_a_restarted_node_has_everything(self):
        with Cluster(3) as cluster:
            self.write_maps(cluster, [0, 1, 2])
            cluster.wait_for_maps(0, SHUFFLE, 9)
            for node in range(3):
                cluster.signal(node, signal.SIGKILL)
            done = subprocess.run([PROGRAM, "cluster", "up", "--nodes", "3", "--dir", cluster.directory],
                                  capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            cluster.nodes = cluster.status()
            cluster.wait_for_maps(1, SHUFFLE, 9)
            for partition in range(len(SIZES)):
                expected = list(range(9)) if SIZES[partition] else []
                self.assertEqual(sorted(maps_in(cluster.read_partition(1, SHUFFLE, partition), partition)), expected)

    def test_a_drop_on_one_node_is_a_drop_on_all(self):
        with Cluster(3) as cluster:
            self.write_maps(cluster, [0, 1, 2])
            cluster.write_files(0, "app-1/1", 0, make_blocks(0, SIZES))
            cluster.write_files(0, "other/0", 0, make_blocks(0, SIZES))
            cluster.wait_for_maps(0, SHUFFLE, 9)
            subprocess.run(["rm", "-r", cluster.path(1, "shuffles", SHUFFLE)], check=True, timeout=60)
            for node in range(3):
                self.assertFalse(os.path.exists(cluster.path(node, "shuffles", SHUFFLE, "partitions", "0")))
                self.assertEqual(maps_in(cluster.read_partition(node, "app-1/1", 2), 2), [0])
            shutil.rmtree(cluster.path(2, "shuffles", "app-1"))
            for node in range(3):
                self.assertEqual(os.listdir(cluster.path(node, "shuffles")), ["other"])
            # The name can be used again.
            self.write_maps(cluster, [0, 1], 4)
            cluster.wait_for_maps(2, SHUFFLE, 4)
            self.assertEqual(sorted(maps_in(cluster.read_partition(2, SHUFFLE, 3), 3)), [0, 1, 2, 3])

    def test_garbage_and_huge_lengths_on_the_peer_port_are_named_and_survived(self):
        with Cluster(2) as cluster:
            address = (cluster.nodes[0]["address"], cluster.nodes[0]["peer_port"])
            attacks = [b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100, os.urandom(200),
                       b"SFS1" + struct.pack("<IIQ", 1, 0xFFFFFFFF, 1 << 62) + b"\0" * 40, b""]
            for attack in attacks:
                with socket.create_connection(address, timeout=20) as connection:
                    connection.settimeout(20)
                    connection.sendall(attack)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(4096):  # closed by the daemon, within its deadline
                        pass
            self.assertIn("peer.protocol_error", cluster.log(0))
            self.write_maps(cluster, [0, 1])
            cluster.wait_for_maps(0, SHUFFLE, 9)

    def test_sigterm_stops_with_files_open_and_readers_at_work(self):
        with Cluster(2) as cluster:
            self.write_maps(cluster, [0, 1])
            cluster.wait_for_maps(0, SHUFFLE, 9)
            path = cluster.path(0, "local", "disk0", "open")
            files = [open(path + str(i), "wb") for i in range(20)]  # pylint: disable=consider-using-with
            readers = [open(cluster.path(0, "shuffles", SHUFFLE, "partitions", str(p)), "rb")  # pylint: disable=consider-using-with
                       for p in range(len(SIZES))]
            readers[4].read(1000)
            pid = cluster.nodes[0]["pid"]
            begin = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            until(lambda: not os.path.exists(f"/proc/{pid}") or is_zombie(pid), "the daemon has ended", 10)
            self.assertLess(time.monotonic() - begin, 10)
            self.assertFalse(os.path.ismount(cluster.mount(0)))
            for file in files + readers:
                try:
                    file.close()
                except OSError:
                    pass


def is_zombie(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "Z"


if __name__ == "__main__":
    unittest.main()
