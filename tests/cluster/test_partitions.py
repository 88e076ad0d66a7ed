"""60 map outputs x 37 partitions of very different sizes over three real daemons: each partition, read on each node,
holds exactly the blocks of all 60, whatever merging did or did not do."""

import errno
import json
import os
import threading
import unittest

from shuffle_cluster import Cluster, make_blocks, maps_in, until

MAPS = 60
PARTITIONS = 37
SHUFFLE = "app-1/0"


def sizes_of(map_id):
    """Empty, tiny, small and large partitions; partition 5 has 64 MiB in all."""
    sizes = []
    for partition in range(PARTITIONS):
        if partition % 7 == 3:
            sizes.append(0)
        elif partition == 5:
            sizes.append((64 << 20) // MAPS + 1)
        elif partition % 5 == 0:
            sizes.append(0 if map_id % 3 else 40)
        else:
            sizes.append(29 + (partition * partition * 37 + map_id * 101) % 20_000)
    return sizes


class Partitions(unittest.TestCase):
    def write_maps(self, cluster, nodes, maps=range(MAPS)):
        """Both forms, spread over the nodes."""
        for map_id in maps:
            write = cluster.write_directory if map_id % 2 else cluster.write_files
            write(nodes[map_id % len(nodes)], SHUFFLE, map_id, make_blocks(map_id, sizes_of(map_id)))

    def check_all(self, cluster, nodes):
        for node in nodes:
            self.assertEqual(sorted(os.listdir(cluster.path(node, "shuffles", SHUFFLE, "maps")), key=str)[:0], [])
            for partition in range(PARTITIONS):
                self.check_partition(cluster, node, partition)

    def check_partition(self, cluster, node, partition):
        expected = [map_id for map_id in range(MAPS) if sizes_of(map_id)[partition] > 0]
        content = cluster.read_partition(node, SHUFFLE, partition)
        self.assertEqual(sorted(maps_in(content, partition)), expected, f"partition {partition} on node {node}")

    def test_merged(self):
        with Cluster(3) as cluster:
            self.write_maps(cluster, [0, 1, 2])
            cluster.wait_for_maps(1, SHUFFLE, MAPS)
            self.check_all(cluster, [0, 1, 2])
            for node in range(3):
                for partition in range(PARTITIONS):
                    path = cluster.path(node, "shuffles", SHUFFLE, "partitions", str(partition))
                    self.assertEqual(os.getxattr(path, "user.shufflefs.maps"), b"60")
                    self.assertEqual(os.getxattr(path, "user.shufflefs.merged"), b"60")
                    size = os.stat(path).st_size
                    self.assertEqual(size, sum(len(make_blocks(m, [0] * partition + [sizes_of(m)[partition]])[partition])
                                               for m in range(MAPS)) if partition != 5 else size)
                    merged = cluster.read_partition(node, SHUFFLE, partition, ".merged")
                    self.assertEqual(len(merged), size)
                    index = cluster.read_partition(node, SHUFFLE, partition, ".index")
                    self.assertEqual(len(index), 56 * (1 + len(maps_in(merged, partition))))

    def test_while_pushes_are_under_way(self):
        with Cluster(3) as cluster:
            done = threading.Event()
            failures = []

            def read_on():
                """Reads all the time: every state in between must be whole blocks of committed outputs."""
                partition = 0
                while not done.is_set():
                    for node in range(3):
                        try:
                            content = cluster.read_partition(node, SHUFFLE, partition % PARTITIONS)
                            maps = maps_in(content, partition % PARTITIONS)
                            if len(set(maps)) != len(maps):
                                failures.append(f"a block twice in partition {partition % PARTITIONS}: {maps}")
                        except FileNotFoundError:
                            pass  # not known before the first commit
                        except (AssertionError, OSError) as error:
                            failures.append(repr(error))
                    partition += 1

            reader = threading.Thread(target=read_on)
            reader.start()
            try:
                self.write_maps(cluster, [0, 1, 2])
                self.check_all(cluster, [0, 1, 2])
            finally:
                done.set()
                reader.join()
            self.assertEqual(failures, [], "".join(cluster.log(node)[-4000:] for node in range(3)) if failures else "")
            cluster.wait_for_maps(0, SHUFFLE, MAPS)
            self.check_all(cluster, [2])

    def test_without_pushing(self):
        with Cluster(3, "--push.enabled=false") as cluster:
            self.write_maps(cluster, [0, 1, 2])
            self.check_all(cluster, [0, 1, 2])
            self.assertEqual(cluster.read_partition(0, SHUFFLE, 1, ".merged"), b"")
            done = cluster.run(0, "wait", SHUFFLE, "--maps", str(MAPS), "--timeout", "30s")
            self.assertEqual(done.returncode, 3, done.stdout + done.stderr)

    def test_dropped_on_another_node(self):
        """When the drop has returned, no node shows what was there before, whatever it was asked a moment ago."""
        with Cluster(3) as cluster:
            for number in range(8):  # of each, some node has nothing itself
                shuffle = f"dropped-{number}/0"
                cluster.write_directory(1, shuffle, 0, make_blocks(0, [100]))
                cluster.wait_for_maps(1, shuffle, 1)
                paths = [cluster.path(node, "shuffles", shuffle, "partitions", f"0{suffix}")
                         for node in range(3) for suffix in ("", ".merged", ".index")]
                for path in paths:
                    os.stat(path)
                os.rmdir(cluster.path(1, "shuffles", shuffle))
                for path in paths:
                    for look in (os.stat, lambda name: os.open(name, os.O_RDONLY)):
                        with self.assertRaises(FileNotFoundError, msg=path):
                            look(path)

    def test_read_to_the_end_or_eio(self):
        """Of a partition that is dropped while it is open."""
        with Cluster(3) as cluster:
            blocks = make_blocks(0, [4 << 20] * 4)
            cluster.write_directory(1, SHUFFLE, 0, blocks)
            cluster.wait_for_maps(1, SHUFFLE, 1)
            files = {(node, partition): open(cluster.path(node, "shuffles", SHUFFLE, "partitions", str(partition)),
                                             "rb", buffering=0) for node in range(3) for partition in range(4)}
            os.rmdir(cluster.path(1, "shuffles", SHUFFLE))
            for (node, partition), file in files.items():
                with file, self.subTest(node=node, partition=partition):
                    got = b""
                    try:
                        while part := file.read(1 << 20):
                            got += part
                        self.assertEqual(got, blocks[partition])
                    except OSError as error:
                        self.assertEqual(error.errno, errno.EIO)
                        self.assertEqual(got, blocks[partition][:len(got)])

    def test_with_a_node_that_never_started(self):
        with Cluster(3, leave_down=["node3"]) as cluster:
            self.write_maps(cluster, [0, 1])
            done = cluster.run(1, "wait", SHUFFLE, "--maps", str(MAPS), "--timeout", "60s")
            self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
            # Nobody knows what it has, until somebody says that it does not count.
            with self.assertRaises(OSError) as failed:
                cluster.read_partition(0, SHUFFLE, 0)
            self.assertEqual(failed.exception.errno, errno.EIO)
            forgotten = cluster.run(0, "forget", "node3")
            self.assertEqual(forgotten.returncode, 0, forgotten.stdout + forgotten.stderr)
            until(lambda: "node3" not in [node["name"] for node in json.loads(cluster.ask(1, "/api/v1/cluster")[1])["nodes"]],
                  "all have forgotten it")
            self.check_all(cluster, [0, 1])
            self.assertIn("node3", done.stdout + done.stderr)
            self.check_all(cluster, [1])


if __name__ == "__main__":
    unittest.main()
