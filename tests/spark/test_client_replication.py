"""push.replicate = all: a node's worker, executor and daemon are killed after the map stage, and no map task runs again.
Installs Spark and re-runs itself with its Python."""

import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

# pylint: disable=wrong-import-position
from client_app import ClientApp  # noqa: E402
from private_network import enter_private_network  # noqa: E402
from record_job import RecordJob  # noqa: E402
from task_marks import hang_until_twin  # noqa: E402
from test_client import ROOT, spark_python  # noqa: E402

MAPS = 9
PARTITIONS = 12
LOST = 2  # the node


class ReplicationTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        cls.directory = cls.enterClassContext(tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")))
        # Encrypted as well: what is merged are the bytes that Spark wrote.
        conf = {"spark.io.encryption.enabled": "true", "spark.io.compression.codec": "zstd",
                "spark.speculation": "true", "spark.speculation.interval": "500ms", "spark.speculation.minTaskRuntime": "2s"}
        # Little memory, so that there are blocks above what is pushed without replication.
        cls.app = cls.enterClassContext(ClientApp(sys.executable, flags=("--push.replicate", "all", "--memory", "64M"), conf=conf))
        cls.session = cls.app.session

    def test_speculative_twins(self):
        """Both attempts of two map tasks run to their end, and of two reduce tasks."""
        job = RecordJob(self.session.sparkContext, MAPS, MAPS, 20000, map_begun=hang_until_twin(self.directory, "map", (1, 5)))
        job.run_maps()
        self.app.wait_merged(job.shuffle(), MAPS)
        job.check(hang_until_twin(self.directory, "reduce", (2, 3)))
        for mark in ("map-1", "map-5", "reduce-2", "reduce-3"):
            self.assertTrue(os.path.exists(os.path.join(self.directory, mark)), mark)

    def test_the_loss_of_a_node_costs_no_map_task(self):
        frame = self.session.range(40000, numPartitions=MAPS).selectExpr("id", "sha2(cast(id as string), 256) as v")
        frozen = self.app.freeze(frame.repartition(PARTITIONS, "id"))
        known = set(self.app.shuffles())
        expected = self.total(frozen)
        shuffle = min(set(self.app.shuffles()) - known)
        self.app.wait_merged(shuffle, MAPS)
        # An eighth of the memory is 8 MiB.
        large = RecordJob(self.session.sparkContext, 3, 2, 10_000_000, record_bytes=100_000)
        large.run_maps()
        self.app.wait_merged(large.shuffle(), 3)
        maps = os.listdir(self.app.cluster.path(LOST, "shuffles", self.app.app, str(shuffle), "maps"))
        self.assertTrue(maps, "the node that is to be lost has no map output")
        self.app.lose_node(LOST)
        again, read, stages = self.app.reading(lambda: (self.total(frozen), large.check())[0])
        self.assertEqual(again, expected)
        self.assertEqual(expected[0][0], 40000)
        rerun = [stage.stageId() for stage in stages.values() if stage.shuffleReadBytes() == 0]
        self.assertEqual(rerun, [], "map tasks have run again")
        self.assertGreater(read["shuffleMergedLocalBytesRead"], 20_000_000)

    @staticmethod
    def total(frozen):
        return [tuple(row) for row in frozen.selectExpr("count(*)", "sum(xxhash64(id, v))").collect()]


if __name__ == "__main__":
    if importlib.util.find_spec("pyspark") is None:
        python = spark_python()
        subprocess.run([ROOT / "scripts" / "client"], check=True)
        os.execv(python, [python, *sys.argv])
    enter_private_network()
    unittest.main()
