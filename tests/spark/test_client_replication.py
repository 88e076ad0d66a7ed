"""push.replicate = all: a node's worker, executor and daemon are killed after the map stage, and no map task runs again.
Installs Spark and re-runs itself with its Python."""

import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

# pylint: disable=wrong-import-position
from client_app import ClientApp  # noqa: E402
from private_network import enter_private_network  # noqa: E402
from shuffle_cluster import until  # noqa: E402
from test_client import ROOT, spark_python  # noqa: E402

MAPS = 9
PARTITIONS = 12
LOST = 2  # the node


class ReplicationTest(unittest.TestCase):
    def setUp(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.app = self.enterContext(ClientApp(sys.executable, flags=("--push.replicate", "all")))
        self.session = self.app.session

    def test_the_loss_of_a_node_costs_no_map_task(self):
        frame = self.session.range(40000, numPartitions=MAPS).selectExpr("id", "sha2(cast(id as string), 256) as v")
        frozen = self.app.freeze(frame.repartition(PARTITIONS, "id"))
        expected = self.total(frozen)
        shuffle = min(self.app.shuffles())
        self.app.wait_merged(shuffle, MAPS)
        maps = os.listdir(self.app.cluster.path(LOST, "shuffles", self.app.app, str(shuffle), "maps"))
        self.assertTrue(maps, "the node that is to be lost has no map output")
        self.lose()
        again, read, stages = self.app.reading(lambda: self.total(frozen))
        self.assertEqual(again, expected)
        self.assertEqual(expected[0][0], 40000)
        rerun = [stage.stageId() for stage in stages.values() if stage.shuffleReadBytes() == 0]
        self.assertEqual(rerun, [], "map tasks have run again")
        self.assertGreater(read["shuffleMergedLocalBytesRead"], 0)

    @staticmethod
    def total(frozen):
        return [tuple(row) for row in frozen.selectExpr("count(*)", "sum(xxhash64(id, v))").collect()]

    def lose(self):
        node = self.app.spark_cluster.nodes[LOST]
        executors = [pid for pid, address in self.app.spark_cluster.executors().items() if address == node.address]
        worker = node.worker
        node.worker = None
        for pid in [worker.pid, *executors]:
            os.kill(pid, signal.SIGKILL)
        worker.wait()
        self.app.cluster.signal(LOST, signal.SIGKILL)
        # Until the driver knows: then it would have struck off the node's map outputs.
        status = self.app.context().statusTracker()
        until(lambda: len(status.getExecutorInfos()) == 3, "the driver has noticed the loss of an executor")  # with itself
        until(lambda: "Removing worker" in self.app.spark_cluster.log("master"), "the master has noticed the loss of the worker")


if __name__ == "__main__":
    if importlib.util.find_spec("pyspark") is None:
        python = spark_python()
        subprocess.run([ROOT / "scripts" / "client"], check=True)
        os.execv(python, [python, *sys.argv])
    enter_private_network()
    unittest.main()
