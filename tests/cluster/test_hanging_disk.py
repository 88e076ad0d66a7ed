"""A disk that hangs: no error, no answer. Who does not need what is on it is served as always; when it goes on, so does all."""

import concurrent.futures
import os
import unittest

from ess_client import Connection, RpcResponse, register
from hanging_disk import HangingDisk, why_not
from shuffle_cluster import Cluster, make_blocks, until, what_is_wrong
from spark_files import Executor

SIZES = [100, 30_000, 0, 70_000, 300, 5000, 100, 40_000]
PARTITIONS = range(len(SIZES))
NODES = range(3)
SOON = 60  # seconds, on a busy machine: whoever needs the disk waits until it goes on, below
MIB = 1 << 20


@unittest.skipIf(why_not(), why_not())
class HangingDiskTest(unittest.TestCase):
    def setUp(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(64)
        self.addCleanup(self.pool.shutdown)
        self.late = []

    def soon(self, what, call, *arguments):
        """The result of a call that may not wait for the disk. All that is late is told at the end."""
        future = self.pool.submit(call, *arguments)
        try:
            return future.result(SOON)
        except concurrent.futures.TimeoutError:
            self.late.append(f"{what}: not within {SOON} s")
        except (OSError, AssertionError) as error:
            self.late.append(f"{what}: {error!r}")
        return None

    def commit(self, cluster, shuffle, node, map_id):
        (cluster.write_directory if map_id % 2 else cluster.write_files)(node, shuffle, map_id, make_blocks(map_id, SIZES))

    def register(self, cluster, node, app):
        executor = Executor([cluster.path(node, "local", "disk0", app)])
        with Connection(cluster.spark_address(node)) as connection:
            answer = connection.rpc(register(app, "1", executor.local_dirs))
        assert isinstance(answer, RpcResponse), answer
        return executor

    def start(self, cluster, disk, only):
        """The first node has the disk besides its own, or alone."""
        cluster.stop(0)
        data = os.path.join(disk.path, "data")
        if only:
            cluster.set_option(0, "--data", data)
        else:
            cluster.commands[0] += ["--data", data]
        cluster.restart(0)

    def wrong(self, outcomes, maps, what, errors=("EIO",)):
        blocks = {map_id: make_blocks(map_id, SIZES) for map_id in maps}
        found = []
        for (node, partition), outcome in outcomes.items():
            bad = what_is_wrong(outcome, partition, [(map_id, blocks[map_id][partition]) for map_id in maps], errors)
            found += [f"{what}, partition {partition} on node{node + 1}: {bad}"] if bad else []
        return found

    def check_answers(self, cluster, round_name):
        for node in NODES:
            name = f"{round_name}, node{node + 1}"
            for path in ("/metrics", "/healthz", "/api/v1/status", "/api/v1/events", "/api/v1/cluster"):
                answer = self.soon(f"{name}: {path}", cluster.ask, node, path, 60)
                if answer and answer[0] != 200:
                    self.late.append(f"{name}: {path} answers {answer[0]}")
            done = self.soon(f"{name}: status", cluster.run, node, "status")
            if done and done.returncode != 0:
                self.late.append(f"{name}: status: {done.stderr}")
            listed = self.soon(f"{name}: ls shuffles", os.listdir, cluster.path(node, "shuffles"))
            if listed is not None and "old0" not in listed:
                self.late.append(f"{name}: shuffles/ shows {listed}")
            self.soon(f"{name}: stat of the root", os.stat, cluster.mount(node))
            self.soon(f"{name}: statfs of the root", os.statvfs, cluster.mount(node))

    def check_others(self, cluster):
        """On the other nodes executors register, map outputs are committed, pushed and read."""
        for node in (1, 2):
            executor = self.soon(f"a registration on node{node + 1}", self.register, cluster, node, f"spark{node}")
            if executor:
                self.soon(f"Spark's files on node{node + 1}", executor.commit, 0, 0, make_blocks(0, SIZES))
            self.soon(f"a commit on node{node + 1}", self.commit, cluster, "new/0", node, node)
        for node in (1, 2):
            outcomes = self.soon(f"reads of what is new on node{node + 1}", cluster.outcomes, [node], "new/0", PARTITIONS)
            self.late += self.wrong(outcomes or {}, [1, 2], "new/0 while the disk hangs")

        def pushed():
            """Whatever the hanging node does not own gets merged."""
            for partition, (owner, _) in enumerate(cluster.owners("new/0", len(SIZES), 1)):
                if owner != 0 and SIZES[partition]:
                    until(lambda partition=partition: len(cluster.read_partition(1, "new/0", partition, ".merged"))
                          == 2 * SIZES[partition], f"partition {partition} is merged")
        self.soon("pushes between the others", pushed)

    def check(self, only):
        with HangingDisk() as disk, Cluster(3, "--memory=128M", "--disk.reserve=16M") as cluster:
            self.start(cluster, disk, only)
            for number in range(4):  # some of them on the disk in question
                for node in NODES:
                    self.commit(cluster, f"old{number}/0", node, node)
                cluster.wait_for_maps(0, f"old{number}/0", 3)
            disk.hang()
            try:
                # What waits for the disk, of all kinds; it may take as long as the disk does.
                waiting = [self.pool.submit(cluster.outcomes, [node], f"old{number}/0", PARTITIONS)
                           for number in range(4) for node in NODES]
                writing = [self.pool.submit(self.commit, cluster, f"hung{number}/0", 0, 0) for number in range(4)]
                self.check_answers(cluster, "with readers and writers at work")
                self.check_others(cluster)
                self.check_answers(cluster, "with pushes under way")
            finally:
                disk.resume()
            for future in waiting:
                self.late += self.wrong(future.result(120), NODES, "a read while the disk hung")
            for future in writing:
                future.result(120)
            for number in range(4):
                for shuffle, maps in ((f"old{number}/0", NODES), (f"hung{number}/0", [0])):
                    cluster.wait_for_maps(1, shuffle, len(maps))
                    self.late += self.wrong(cluster.outcomes(NODES, shuffle, PARTITIONS), maps, f"{shuffle} afterwards", ())
            self.late += self.wrong(cluster.outcomes(NODES, "new/0", PARTITIONS), [1, 2], "new/0 afterwards", ())
        if self.late:
            self.fail(f"{len(self.late)} complaints:\n" + "\n".join(self.late[:40]))

    def test_one_disk_of_two(self):
        self.check(only=False)

    def test_the_only_disk(self):
        self.check(only=True)


if __name__ == "__main__":
    unittest.main()
