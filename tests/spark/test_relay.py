"""The relay (docs/relay.md): Spark without our client on three nodes, each with a network of its own, reads merged data; and what happens
when the daemon of a node that reads is gone. Installs Spark and re-runs itself with its Python."""

import contextlib
import os
import pathlib
import signal
import socket
import sys
import tempfile
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

# pylint: disable=wrong-import-position
from client_app import ClientApp  # noqa: E402
from record_job import RecordJob  # noqa: E402
from separate_networks import HUB, SOURCES, Networks, SeparateCluster, address_of  # noqa: E402
from shuffle_cluster import until  # noqa: E402
from standalone import main_with_spark  # noqa: E402

NODES, MAPS, PARTITIONS = 3, 9, 12
# Who answers a connection to the port: a listener of this test says so at once, a relay waits to be asked.
ASK = f"""
import socket
with socket.create_connection(("{HUB}", 7337), 5) as connection:
    connection.settimeout(1)
    try:
        print(connection.recv(10).decode())
    except TimeoutError:
        print("silence")
"""


def not_on(address):
    """A map task on that node fails, and another node gets it."""
    def begun(_):
        if os.environ.get("SPARK_LOCAL_IP") == address:
            time.sleep(1)
            raise RuntimeError("not here")
    return begun


class RelayTest(unittest.TestCase):
    def start(self, *flags, conf=None, local_dirs=None):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        stack = self.enterContext(contextlib.ExitStack())
        self.networks = stack.enter_context(Networks(NODES))
        from pyspark import SparkContext  # pylint: disable=import-outside-toplevel,import-error
        SparkContext._gateway = SparkContext._jvm = None  # pylint: disable=protected-access
        self.app = stack.enter_context(ClientApp(
            sys.executable, NODES, client=False, conf=conf, master=HUB, prefix=self.networks.prefix, local_dirs=local_dirs,
            services=lambda: SeparateCluster(self.networks, "--spark-relay", "redirect", *flags)))
        self.cluster = self.app.cluster

    def who_answers(self, node):
        done = self.cluster.inside(node, sys.executable, "-c", ASK)
        return done.stdout.strip() or done.stderr

    def wait_for_direct(self, what):
        began = time.monotonic()
        until(lambda: self.who_answers(0) == "the hub", f"connections go where they are meant to go {what}", 15)
        print(f"direct {time.monotonic() - began:.1f} s {what}", flush=True)

    def answer_at_hub(self):
        """A service of somebody else at the hub's port 7337, which says so at once."""
        listener = socket.create_server((HUB, 7337))
        def answer():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.sendall(b"the hub")
                    connection.close()
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        def end():
            listener.shutdown(socket.SHUT_RDWR)  # an accept that waits would hold the port
            thread.join()
            listener.close()
        self.addCleanup(end)

    def test_reads_are_merged(self):
        self.start()
        context = self.app.session.sparkContext
        job = RecordJob(context, MAPS, PARTITIONS, 60000)
        job.run_maps()
        self.app.wait_merged(job.shuffle(), MAPS)
        _, read, stages = self.app.reading(job.check)
        self.assertEqual(sum(stage.numFailedTasks() for stage in stages.values()), 0)
        found = self.cluster.relayed()
        merged = sum(found.values()) - found["origin"]
        print(f"relayed: {found}, Spark says {read['shuffleRemoteBytesRead']} remote", flush=True)
        self.assertGreater(sum(found.values()), 0.9 * read["shuffleRemoteBytesRead"])
        self.assertGreater(merged, 0.9 * sum(found.values()))
        self.assertGreater(found["merged_here"], 0)
        self.assertGreater(found["merged_there"], 0)

        # Batches, as SQL asks for them: several partitions of a map output in one block.
        before = self.cluster.relayed()
        session = self.app.session
        session.conf.set("spark.sql.adaptive.enabled", "true")
        frame = session.range(0, 400000, 1, 6).selectExpr("id % 5000 as key", "id", "repeat(cast(id as string), 5) as text")
        rows = frame.repartition("key").groupBy("key").count().collect()
        self.assertEqual((len(rows), {row["count"] for row in rows}), (5000, {80}))
        after = self.cluster.relayed()
        print(f"batches: { {source: after[source] - before[source] for source in SOURCES} }", flush=True)

        # The connections of others pass through, and are not touched after a stop.
        self.answer_at_hub()
        until(lambda: self.who_answers(0) == "silence", "the relay takes the connection")
        self.cluster.stop(0)
        self.assertEqual(self.who_answers(0), "the hub")

    def test_the_daemon_of_a_reading_node_is_killed(self):
        outside = self.enterContext(tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")))
        # The first node only reads, and has its local directories outside of the mount: its executor outlives its daemon.
        self.start("--spark-allow-dir", outside, local_dirs={0: os.path.join(outside, "spark")},
                   conf={"spark.task.maxFailures": "100", "spark.shuffle.reduceLocality.enabled": "false"})
        job = RecordJob(self.app.session.sparkContext, MAPS, PARTITIONS, 60000, map_begun=not_on(address_of(0)))
        job.run_maps()
        self.answer_at_hub()
        until(lambda: self.who_answers(0) == "silence", "the relay takes the connection")
        # A daemon that hangs has its redirection expire; when it goes on, it has it again.
        worker = self.cluster.workers(0)[0]
        os.kill(worker, signal.SIGSTOP)
        self.wait_for_direct("after SIGSTOP")
        os.kill(worker, signal.SIGCONT)
        until(lambda: self.who_answers(0) == "silence", "the relay takes connections again")
        self.cluster.signal(0, signal.SIGKILL)
        self.wait_for_direct("after SIGKILL")
        _, read, stages = self.app.reading(job.check)
        self.assertEqual(sum(stage.numFailedTasks() for stage in stages.values()), 0)
        found = self.cluster.relayed(range(1, NODES))
        print(f"relayed by the others: {found}, Spark says {read['shuffleRemoteBytesRead']} remote", flush=True)
        self.assertGreater(read["shuffleRemoteBytesRead"], sum(found.values()))


if __name__ == "__main__":
    main_with_spark()
