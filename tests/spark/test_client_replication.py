"""push.replicate = all: after the map stage two nodes are drained and stopped; in another job a node's worker, executor and daemon are
killed. No map task runs again. Three nodes, and a fourth that only owns partitions. Installs Spark and re-runs itself with its Python."""

import os
import pathlib
import signal
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

# pylint: disable=wrong-import-position
from client_app import ClientApp  # noqa: E402
from record_job import RecordJob  # noqa: E402
from standalone import main_with_spark  # noqa: E402
from task_marks import hang_until_twin  # noqa: E402

MAPS = 9
PARTITIONS = 12
DRAINED = (2, 3)  # nodes; the first one has an executor
LOST = 1


class ReplicationTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        cls.directory = cls.enterClassContext(tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")))
        # Encrypted as well: what is merged are the bytes that Spark wrote.
        conf = {"spark.io.encryption.enabled": "true", "spark.io.compression.codec": "zstd",
                "spark.speculation": "true", "spark.speculation.interval": "500ms", "spark.speculation.minTaskRuntime": "2s"}
        # Little memory, so that there are blocks above what is pushed without replication.
        cls.app = cls.enterClassContext(ClientApp(sys.executable, owners=1, flags=("--push.replicate", "all", "--memory", "64M"), conf=conf))
        cls.session = cls.app.session

    def test_speculative_twins(self):
        """Both attempts of two map tasks run to their end, and of two reduce tasks."""
        job = RecordJob(self.session.sparkContext, MAPS, MAPS, 20000, map_begun=hang_until_twin(self.directory, "map", (1, 5)))
        job.run_maps()
        self.app.wait_merged(job.shuffle(), MAPS)
        job.check(hang_until_twin(self.directory, "reduce", (2, 3)))
        for mark in ("map-1", "map-5", "reduce-2", "reduce-3"):
            self.assertTrue(os.path.exists(os.path.join(self.directory, mark)), mark)

    def test_the_drain_of_two_nodes_costs_no_map_task(self):
        """Of some partitions both candidates go: what the one has written for them is brought to a node that is neither."""
        for _ in range(10):  # the hash of application and shuffle decides; it has no such partition in one case of ten
            frozen, shuffle, expected = self.frozen()
            if self.owned_by(DRAINED, shuffle):
                break
        else:
            self.fail("the drained nodes are not both candidates of any partition, in ten shuffles")
        self.assertTrue(self.map_outputs(DRAINED[0], shuffle), "the node that is to be drained has no map output")
        for node in DRAINED:  # both begin before one of them has ended
            self.assertIn(self.app.cluster.run(node, "drain", "--no-wait").returncode, (0, 3, 4))
        for node in DRAINED:
            done = self.app.cluster.run(node, "drain")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.app.lose_node(DRAINED[0])
        self.app.cluster.signal(DRAINED[1], signal.SIGKILL)
        read = self.read_without_maps(lambda: self.assertEqual(self.total(frozen), expected))
        self.assertGreater(read["shuffleMergedLocalBytesRead"], 0)
        for node in DRAINED:
            self.app.cluster.restart(node)

    def map_outputs(self, node, shuffle):
        return os.listdir(self.app.cluster.path(node, "shuffles", self.app.app, str(shuffle), "maps"))

    def owned_by(self, nodes, shuffle):
        """The partitions whose candidates are exactly these nodes."""
        names = {self.app.cluster.nodes[node]["name"] for node in nodes}
        with open(self.app.cluster.path(0, ".shufflefs", "owners", f"{self.app.app},{shuffle},{PARTITIONS}"), encoding="ascii") as file:
            return [line for line in file if set(line.split()[2:4]) == names]

    def frozen(self):
        """(a frame above a new shuffle of MAPS x PARTITIONS, the shuffle's id, the right answer), when all of it is merged."""
        frame = self.session.range(40000, numPartitions=MAPS).selectExpr("id", "sha2(cast(id as string), 256) as v")
        frozen = self.app.freeze(frame.repartition(PARTITIONS, "id"))
        known = set(self.app.shuffles())
        expected = self.total(frozen)
        self.assertEqual(expected[0][0], 40000)
        shuffle = min(set(self.app.shuffles()) - known)
        self.app.wait_merged(shuffle, MAPS)
        return frozen, shuffle, expected

    def read_without_maps(self, action):
        """What was read in the action's stages, none of which was a map stage that had run before."""
        _, read, stages = self.app.reading(action)
        rerun = [stage.stageId() for stage in stages.values() if stage.shuffleReadBytes() == 0]
        self.assertEqual(rerun, [], "map tasks have run again")
        return read

    def test_the_loss_of_a_node_costs_no_map_task(self):
        """The nodes that were drained are members again, one of them without its executor."""
        frozen, shuffle, expected = self.frozen()
        # An eighth of the memory is 8 MiB.
        large = RecordJob(self.session.sparkContext, 3, 2, 10_000_000, record_bytes=100_000)
        large.run_maps()
        self.app.wait_merged(large.shuffle(), 3)
        self.assertTrue(self.map_outputs(LOST, shuffle), "the node that is to be lost has no map output")
        self.app.lose_node(LOST)

        def read():
            self.assertEqual(self.total(frozen), expected)
            large.check()
        self.assertGreater(self.read_without_maps(read)["shuffleMergedLocalBytesRead"], 20_000_000)

    @staticmethod
    def total(frozen):
        return [tuple(row) for row in frozen.selectExpr("count(*)", "sum(xxhash64(id, v))").collect()]


if __name__ == "__main__":
    main_with_spark()
