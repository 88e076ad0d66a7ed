"""A real Spark 3.5.7 with its local dir on the mount of one of three nodes: see two_shuffles.py for what is checked."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import threading
import unittest

from shuffle_cluster import PROGRAM, Cluster, until
from standalone import spark_python

HERE = pathlib.Path(__file__).resolve().parent
CORPUS_BYTES = 4 << 20
PATIENCE = 180  # seconds, for each thing that the job waits for; a sanitizer's daemon is slow


def corpus():
    """Licences and copyright notices, which every Debian machine has."""
    files, size = [], 0
    for path in [*sorted(pathlib.Path("/usr/share/common-licenses").iterdir()),
                 *sorted(pathlib.Path("/usr/share/doc").glob("*/copyright"))]:
        if path.is_file() and size < CORPUS_BYTES:
            files.append(str(path))
            size += path.stat().st_size
    assert len(files) > 20, f"only {len(files)} texts below /usr/share"
    return files


class Killer:
    """Kills the worker of a node at random instants, as a context, until the job is done: what a killed worker had not
    yet told of a removal stays until the application is dropped (docs/simulation.md)."""

    def __init__(self, cluster, node):
        self.job_done = pathlib.Path(cluster.directory, "job-done")
        self.supervisor = cluster.nodes[node]["pid"]
        self.kills = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        chance = random.Random(1)
        while not self.over.wait(chance.uniform(0.5, 2.0)) and not self.job_done.exists():
            done = subprocess.run(["pgrep", "-P", str(self.supervisor)], capture_output=True, text=True, check=False)
            for pid in done.stdout.split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class LocalDir(unittest.TestCase):
    def test_two_shuffles(self):
        self.two_shuffles(contextlib.nullcontext)

    def test_two_shuffles_while_the_worker_is_killed(self):
        """No task fails: Spark runs with one attempt a task, so the first failure would end the job."""
        killers = []

        def kill(cluster):
            killers.append(Killer(cluster, 0))
            return killers[0]

        self.two_shuffles(kill)
        print(f"the worker was killed {killers[0].kills} times")
        self.assertGreater(killers[0].kills, 3)

    def two_shuffles(self, disturbance):
        python = spark_python()
        with Cluster(3) as cluster, disturbance(cluster):
            node = cluster.nodes[0]
            done = subprocess.run(
                [python, HERE / "two_shuffles.py", "--local-dir", cluster.path(0, "local", "disk0", "spark"),
                 "--app", "job", "--shufflefs", PROGRAM, "--http", f"{node['http_address']}:{node['http_port']}",
                 "--job-done", os.path.join(cluster.directory, "job-done"),
                 "--patience", str(PATIENCE), "--text", *corpus()],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            print(done.stdout, flush=True)
            self.assertEqual(done.returncode, 0, done.stdout + cluster.log(0))
            for other in range(1, 3):
                until(lambda node=other: os.listdir(cluster.path(node, "shuffles")) == [],
                      f"node{other + 1} knows no shuffle any more", PATIENCE)


if __name__ == "__main__":
    unittest.main()
