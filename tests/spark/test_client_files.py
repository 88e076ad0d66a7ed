"""The client's files without a mount: ClientFiles.java and ClientReads.java read indexes and merged files, without Spark running;
ClientWrites.java compares map outputs with Spark's. And whether the jar fits this Spark."""

import glob
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

# pylint: disable=wrong-import-position
from link_check import missing  # noqa: E402
from standalone import OPENED, ROOT, spark_home, spark_python  # noqa: E402


class ClientFilesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run([ROOT / "scripts" / "client"], check=True)
        home = spark_home(spark_python())
        cls.directory = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.jar = ROOT / "build" / "client" / "shufflefs-spark_2.12.jar"
        cls.jars = f"{home}/jars"
        cls.path = ":".join([str(cls.jar), *glob.glob(f"{cls.jars}/*.jar")])
        sources = [HERE / f"{name}.java" for name in ("ClientFiles", "ClientReads", "ClientWrites", "MapOutputCalls", "SparksWriters")]
        subprocess.run(["javac", "-d", cls.directory, "-cp", cls.path, *sources], check=True)

    def test_spark_has_all_that_the_jar_names(self):
        self.assertEqual(missing(self.jar, self.jars), [])

    def run_java(self, name, *options):
        files = os.path.join(self.directory, name)
        os.mkdir(files)
        log = f"-Dlog4j.configurationFile=file:{HERE}/log4j2-client.properties"
        command = ["java", *options, log, "-cp", f"{self.directory}:{self.path}", f"org.shufflefs.spark.{name}", files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "ok\n"), done.stderr)

    def test_damage_is_noticed_and_nothing_else_is_refused(self):
        self.run_java("ClientFiles")

    def test_a_reader_with_little_memory_and_a_bad_mount(self):
        """Of memory as well: hundreds of blocks at once would not fit."""
        self.run_java("ClientReads", "-Xmx64m")

    def test_map_outputs_are_sparks_byte_for_byte(self):
        self.run_java("ClientWrites", "-Xmx1g", *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED))


if __name__ == "__main__":
    unittest.main()
