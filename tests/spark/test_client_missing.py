"""The client on a Spark that lacks something it leans on: the job ends right, and each JVM says once what was missing. Such a Spark is made
by changing one name in the client's jar: what it then asks for is in no Spark. Installs Spark and re-runs itself with its Python."""

import glob
import os
import pathlib
import signal
import struct
import sys
import tempfile
import unittest
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

# pylint: disable=wrong-import-position
from client_app import ClientApp  # noqa: E402
from link_check import missing  # noqa: E402
from record_job import RecordJob  # noqa: E402
from standalone import main_with_spark  # noqa: E402

MAPS, PARTITIONS = 4, 6
OFF = "this Spark lacks something that the client needs"
WRITTEN = "map outputs are written as Spark writes them"
NOT_PREFERRED = "reduce tasks do not prefer the owners"


def asking_for_another(jar, path, name, old):
    """A copy of the jar whose class of this name says oldX, cut to the same length, instead of `old`."""
    def constant(text):
        return struct.pack(">BH", 1, len(text)) + text.encode()
    with zipfile.ZipFile(jar) as source, zipfile.ZipFile(path, "w") as copy:
        for entry in source.namelist():
            content = source.read(entry)
            if entry == f"org/shufflefs/spark/{name}.class":
                assert content.count(constant(old)) == 1, f"{name} does not name {old}"
                content = content.replace(constant(old), constant(old[:-1] + "X"))
            copy.writestr(entry, content)


class MissingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        cls.directory = cls.enterClassContext(tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")))
        cls.app = cls.enterClassContext(ClientApp(sys.executable, nodes=1))
        cls.jar = cls.app.session.conf.get("spark.driver.extraClassPath")
        cls.home = os.environ["SPARK_HOME"]

    def run_without(self, name, old, error):
        """An application with such a jar: (bytes read merged, [what a JVM says] of the driver and the executor, tasks that ran again)."""
        jar = self.app.cluster.path(0, "local", "disk0", f"{self.id().rpartition('.')[2]}.jar")  # in the mount, as a driver finds it by that
        asking_for_another(self.jar, jar, name, old)
        self.assertNotEqual(missing(jar, f"{self.home}/jars"), [], "the link check sees nothing")
        log = os.path.join(self.directory, "driver.log")
        self.app.restart_driver({
            "spark.driver.extraClassPath": jar, "spark.executor.extraClassPath": jar,
            "spark.shuffle.sort.bypassMergeThreshold": "200",  # the output of one spill is Spark's own file
        }, log)
        job = RecordJob(self.app.session.sparkContext, MAPS, PARTITIONS, 20000)
        job.run_maps()
        self.app.wait_merged(job.shuffle(), MAPS)
        _, read, _ = self.app.reading(job.check)
        stages = self.app.stages().values()
        self.assertEqual(sum(stage.numFailedTasks() for stage in stages), 0)
        logs = [log, *glob.glob(f"{self.app.directory}/work/*/{self.app.app}/*/stderr")]
        said = []
        for path in logs:
            with open(path, encoding="utf-8", errors="replace") as file:
                said.append("".join(line for line in file if OFF in line or NOT_PREFERRED in line or error in line))
        for text in filter(None, said):
            self.assertEqual((text.count(OFF) + text.count(NOT_PREFERRED), error in text), (1, True), said)
        return read["shuffleMergedLocalBytesRead"], said, sum(stage.numKilledTasks() for stage in stages)

    def test_a_class_is_missing(self):
        read, said, _ = self.run_without("MergedBlockResolver", "org/apache/spark/shuffle/IndexShuffleBlockResolver", "NoClassDefFoundError")
        self.assertEqual((read, [OFF in text for text in said]), (0, [True] * 2))

    def test_a_method_is_missing_when_the_manager_is_made(self):
        read, said, _ = self.run_without("MergedShuffles", "getTimeAsMs", "NoSuchMethodError")
        self.assertEqual((read, [OFF in text for text in said]), (0, [True] * 2))

    def test_a_method_is_missing_when_a_shuffle_is_registered(self):
        """It costs the preference for owners and nothing else."""
        read, said, _ = self.run_without("ReduceLocality", "registerMergeResult", "NoSuchMethodError")
        self.assertGreater(read, 0)
        self.assertEqual([NOT_PREFERRED in text for text in said], [True, False])

    def test_a_method_is_missing_when_a_reader_is_made(self):
        read, said, _ = self.run_without("MergedShuffles", "getMapSizesByExecutorId", "NoSuchMethodError")
        self.assertEqual((read, [OFF in text for text in said]), (0, [False, True]))

    def test_a_method_is_missing_when_the_first_block_is_read(self):
        """Tasks that have begun are given up and run again, which does not count as a failure."""
        read, said, again = self.run_without("MergedBuffer", "createInputStream", "AbstractMethodError")
        self.assertEqual((read, said[0]), (0, ""))
        self.assertGreater(again, 0)

    def test_a_method_is_missing_when_a_map_output_is_made(self):
        """It costs the client's writing and nothing else: the executor's map outputs are Spark's from the first on."""
        read, said, again = self.run_without("MapOutput", "writeMetadataFileAndCommit", "NoSuchMethodError")
        self.assertGreater(read, 0)
        self.assertEqual((said[0], WRITTEN in said[1], again), ("", True, 0))

    def test_spark_asks_a_map_output_for_more(self):
        read, said, again = self.run_without("MapOutput", "abort", "AbstractMethodError")
        self.assertGreater(read, 0)
        self.assertEqual((said[0], WRITTEN in said[1], again), ("", True, 0))

    def test_spark_does_not_ask_for_local_blocks(self):
        read, said, again = self.run_without("MergedBlockResolver", "getBlockData", "LinkageError")
        self.assertEqual((read, said[0]), (0, ""))
        self.assertGreater(again, 0)


if __name__ == "__main__":
    main_with_spark()
