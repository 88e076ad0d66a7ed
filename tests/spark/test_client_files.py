"""The client's reading of indexes and merged files, without Spark running: ClientFiles.java against the client's jar."""

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
from standalone import spark_home  # noqa: E402
from test_client import ROOT, spark_python  # noqa: E402


class ClientFilesTest(unittest.TestCase):
    def test_damage_is_noticed_and_nothing_else_is_refused(self):
        subprocess.run([ROOT / "scripts" / "client"], check=True)
        jars = os.path.join(spark_home(spark_python()), "jars")
        path = ":".join([str(ROOT / "build" / "client" / "shufflefs-spark_2.12.jar"), *glob.glob(f"{jars}/*.jar")])
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run(["javac", "-d", directory, "-cp", path, HERE / "ClientFiles.java"], check=True)
            done = subprocess.run(["java", "-cp", f"{directory}:{path}", "org.shufflefs.spark.ClientFiles", directory],
                                  capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stdout), (0, "ok\n"), done.stderr)


if __name__ == "__main__":
    unittest.main()
