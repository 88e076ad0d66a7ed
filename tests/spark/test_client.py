"""The Spark client on three nodes, and a fourth that only owns partitions: what is read merged, what happens when it is not there,
and SQL against stock Spark. Spark is started once. Installs Spark and re-runs itself with its Python."""

import collections
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

# pylint: disable=wrong-import-position
from client_app import ClientApp  # noqa: E402
from client_queries import QUERIES, answer, make_tables  # noqa: E402
from record_job import RecordJob  # noqa: E402
from shuffle_cluster import until  # noqa: E402
from standalone import main_with_spark  # noqa: E402
from task_marks import begun_tasks, pause, resume  # noqa: E402

MAPS = 8
PARTITIONS = 12
LARGE = "spark.network.maxRemoteBlockSizeFetchToMem"
SCALE = int(os.environ.get("SHUFFLEFS_TEST_SCALE", "1"))


class ClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="shufflefs-client-test-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.expected = os.path.join(cls.directory, "expected.json")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
        cls.stock = subprocess.Popen([sys.executable, HERE / "client_queries.py", "--scale", str(SCALE), "--output", cls.expected],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        # A test that is ended ends what it started.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        cls.addClassCleanup(cls.stock.wait)
        cls.addClassCleanup(cls.stock.kill)
        cls.app = cls.enterClassContext(ClientApp(sys.executable, nodes=3, owners=1, prepare=cls.prepare, conf={LARGE: "300k"}))
        cls.session = cls.app.session

    @classmethod
    def prepare(cls, directory):
        """The fourth node's disk is small, so that it can be full."""
        cls.small_disk = os.path.join(cls.directory, "small")
        os.makedirs(os.path.join(directory, "node4"))
        os.mkdir(cls.small_disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "small", cls.small_disk], check=True)
        cls.addClassCleanup(subprocess.run, ["umount", cls.small_disk], check=True)
        os.symlink(cls.small_disk, os.path.join(directory, "node4", "data"))

    def frozen(self):
        """(a frame above a new shuffle of MAPS x PARTITIONS, the shuffle's id, the right answer), when all of it is merged."""
        frame = self.session.range(40000, numPartitions=MAPS).selectExpr("id", "sha2(cast(id as string), 256) as v")
        frozen = self.app.freeze(frame.repartition(PARTITIONS, "id"))
        known = self.app.shuffles()
        result = self.read(frozen)[0]
        # The first of the new ones; the other is the sum's.
        shuffle = min(set(self.app.shuffles()) - set(known))
        self.app.wait_merged(shuffle, MAPS)
        return frozen, shuffle, result

    def read(self, frozen):
        """The reduce stage alone: (its result, what was read)."""
        rows, read, stages = self.app.reading(lambda: frozen.selectExpr("count(*)", "sum(xxhash64(id, v))").collect())
        return [tuple(row) for row in rows], read, stages

    def read_again(self, frozen, result):
        again, read, stages = self.read(frozen)
        self.assertEqual(again, result)
        return read, stages

    # ---- What is written

    def writer_of(self, partitions):
        """The class of the handle by which Spark writes a SQL shuffle of so many partitions."""
        plan = self.session.range(100).repartition(partitions, "id")._jdf.queryExecution().sparkPlan()  # pylint: disable=protected-access
        return plan.shuffleDependency().shuffleHandle().getClass().getSimpleName()

    def test_no_file_per_partition_where_records_can_be_sorted_serialized(self):
        self.assertEqual(self.writer_of(7), "SerializedShuffleHandle")
        jvm, context = self.session._jvm, self.session.sparkContext._jsc  # pylint: disable=protected-access
        objects = context.parallelize(jvm.java.util.ArrayList(), 1).zipWithIndex().partitionBy(jvm.org.apache.spark.HashPartitioner(7))
        handle = objects.rdd().dependencies().head().shuffleHandle()
        self.assertEqual(handle.getClass().getSimpleName(), "BypassMergeSortShuffleHandle", "Java's serializer writes no records to sort")

    # ---- Everything merged

    def test_merged_partitions_are_read_and_nothing_else(self):
        frozen, shuffle, result = self.frozen()
        self.assertEqual(result[0][0], 40000)
        before = self.app.metric("shufflefs_client_read_merged_bytes_total")
        chunks = self.app.metric("shufflefs_spark_chunks_total")
        read, stages = self.read_again(frozen, result)
        # The sum's own shuffle, a few rows to one partition, is read before it can be merged.
        reduce = next(stage for stage in stages.values() if stage.numTasks() == PARTITIONS)
        self.assertGreater(reduce.shuffleReadBytes(), 1000000)
        self.assertGreaterEqual(reduce.shuffleMergedLocalBytesRead(), 0.95 * reduce.shuffleReadBytes())
        self.assertEqual(read["shuffleMergedFetchFallbackCount"], 0)
        self.assertLessEqual(self.app.metric("shufflefs_spark_chunks_total") - chunks, 3)
        until(lambda: self.app.metric("shufflefs_client_read_merged_bytes_total") - before >= reduce.shuffleMergedLocalBytesRead(),
              "the daemons have the executors' counts")
        print(f"shuffle {shuffle}: {reduce.shuffleMergedLocalBytesRead()} of {reduce.shuffleReadBytes()} bytes read merged")

    def test_reduce_tasks_prefer_their_owners(self):
        frozen, shuffle, _ = self.frozen()
        path = self.app.cluster.path(0, ".shufflefs", "owners", f"{self.app.app},{shuffle},{PARTITIONS}")
        owners = {}
        with open(path, encoding="ascii") as file:
            for first, last, owner, *_ in map(str.split, file):
                owners.update(dict.fromkeys(range(int(first), int(last) + 1), owner))
        addresses = {node["name"]: node["address"] for node in self.app.cluster.nodes[:3]}
        self.assertEqual(sorted(owners), list(range(PARTITIONS)))
        for partition, owner in owners.items():
            if owner in addresses:  # the fourth has no executors
                self.assertEqual(self.app.preferred_hosts(frozen, partition), [addresses[owner]])

    def test_a_shuffle_that_is_read_at_once(self):
        frame = self.session.range(40000, numPartitions=MAPS).selectExpr("id", "sha2(cast(id as string), 256) as v")
        (rows, read, _) = self.app.reading(
            lambda: frame.repartition(PARTITIONS, "id").selectExpr("count(*)", "sum(xxhash64(id, v))").collect())
        self.assertEqual(rows[0][0], 40000)
        print(f"read at once: {100 * read['shuffleMergedLocalBytesRead'] // read['shuffleReadBytes']} % merged")

    # ---- Something is broken

    def damage(self, change):
        """A fully merged shuffle, one of its merged files changed by `change(path)`, and what is read then."""
        frozen, shuffle, result = self.frozen()
        node, partition, path = self.app.merged_files(shuffle)[0]
        # The last pieces of it may be in the owner's memory still.
        shown = self.app.cluster.path(node, "shuffles", self.app.app, str(shuffle), "partitions", f"{partition}.merged")
        until(lambda: os.path.getsize(path) == os.path.getsize(shown), "what is merged is on the disk")
        change(path)
        read, stages = self.read_again(frozen, result)
        self.assertFalse([stage for stage in stages.values() if stage.numFailedTasks()], "a task has failed")
        return read

    def test_a_flipped_byte(self):
        def flip(path):
            with open(path, "r+b") as file:
                file.seek(os.path.getsize(path) // 2)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1]))
        corrupt = self.app.metric("shufflefs_client_fallback_corrupt_blocks_total")
        read = self.damage(flip)
        # On the owner the client notices and reads one block elsewhere; on another node its daemon has done so already.
        self.assertLessEqual(read["shuffleMergedFetchFallbackCount"], 1)
        self.assertEqual(read["shuffleCorruptMergedBlockChunks"], read["shuffleMergedFetchFallbackCount"])
        until(lambda: self.app.metric("shufflefs_client_fallback_corrupt_blocks_total") - corrupt == read["shuffleCorruptMergedBlockChunks"],
              "the daemons count the corrupt blocks as Spark does")

    def test_a_truncated_file(self):
        self.damage(lambda path: os.truncate(path, os.path.getsize(path) // 3))

    def test_truncated_files_of_blocks_that_are_fetched_to_the_disk(self):
        job = RecordJob(self.session.sparkContext, MAPS, 6, 500_000, record_bytes=100_000)
        job.run_maps()
        self.app.wait_merged(job.shuffle(), MAPS)
        for _, _, path in self.app.merged_files(job.shuffle()):
            os.truncate(path, os.path.getsize(path) // 3)
        _, read, stages = self.app.reading(job.check)
        self.assertFalse([stage for stage in stages.values() if stage.numFailedTasks()], "a task has failed")
        # Tasks on their owners' nodes see the short file; on other nodes the daemon has gone to the origins already.
        print(f"short files of large blocks: {read['shuffleMergedFetchFallbackCount']} of {MAPS * 6} blocks at their origin instead")
        self.assertEqual(self.temporary_files(), [], "a fetched file was left behind")

    def temporary_files(self):
        """What executors keep while a task runs. The Python workers' broadcasts and the like have other names."""
        return [name for node in self.app.cluster.nodes[:3]
                for _, _, names in os.walk(os.path.join(self.app.cluster.directory, node["name"], "data", "local"))
                for name in names if name.startswith("temp_local_")]

    def test_a_file_and_its_index_that_are_gone_after_the_worker_died(self):
        def remove(path):
            os.remove(path)
            os.remove(path.replace(".data", ".index"))
            for node in range(4):
                for pid in self.app.cluster.workers(node):
                    os.kill(pid, signal.SIGKILL)
        self.damage(remove)

    def test_the_merged_partitions_are_dropped(self):
        frozen, shuffle, result = self.frozen()
        done = self.app.cluster.run(0, "drop", f"{self.app.app}/{shuffle}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.app.merged_files(shuffle), [])
        unmerged = self.app.metric("shufflefs_client_fallback_unmerged_blocks_total")
        read, _ = self.read_again(frozen, result)
        self.assertLess(read["shuffleMergedLocalBytesRead"], read["shuffleReadBytes"] / 10)
        until(lambda: self.app.metric("shufflefs_client_fallback_unmerged_blocks_total") - unmerged >= MAPS * PARTITIONS,
              "the daemons count the blocks that were not merged")

    def test_the_origins_are_gone(self):
        frozen, shuffle, result = self.frozen()
        gone = self.remove_origins(shuffle, ".*")
        self.assertGreaterEqual(gone, MAPS)
        read, stages = self.read_again(frozen, result)
        self.assertFalse([stage for stage in stages.values() if stage.numFailedTasks()], "a task has failed")
        self.assertGreaterEqual(read["shuffleMergedLocalBytesRead"], 0.95 * read["shuffleReadBytes"])

    def test_a_map_output_that_is_gone_everywhere_runs_again(self):
        frozen, shuffle, result = self.frozen()
        maps = [int(name.split(".")[0]) for name in os.listdir(self.app.cluster.path(0, "shuffles", self.app.app, str(shuffle), "maps"))]
        maps += [int(name.split(".")[0]) for node in (1, 2)
                 for name in os.listdir(self.app.cluster.path(node, "shuffles", self.app.app, str(shuffle), "maps"))]
        self.remove_origins(shuffle, str(maps[0]))
        for _, _, path in self.app.merged_files(shuffle):
            os.truncate(path, 0)
        read, stages = self.read_again(frozen, result)
        again = self.rerun(stages)
        self.assertEqual(len(again), 1, "the map stage did not run again")
        # Spark strikes off what the map output's executor wrote: had it been told another address, it would not end here.
        self.assertIn(again[0].numCompleteTasks(), range(1, MAPS))

    @staticmethod
    def rerun(stages):
        return [stage for stage in stages.values() if stage.shuffleReadBytes() == 0 and stage.numCompleteTasks() > 0]

    def remove_origins(self, shuffle, map_id, nodes=None):
        """Below the mounts, where the daemons do not see it, as a disk loses files. Returns how many."""
        pattern = re.compile(rf"shuffle_{shuffle}_({map_id})_0\.data")
        removed = 0
        for node in nodes or self.app.cluster.nodes:
            for directory, _, names in os.walk(os.path.join(self.app.cluster.directory, node["name"], "data", "local")):
                for name in filter(pattern.fullmatch, names):
                    os.remove(os.path.join(directory, name))
                    removed += 1
        return removed

    def test_the_disk_of_an_owner_is_full(self):
        filler = os.path.join(self.small_disk, "filler")
        with open(filler, "wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
            except OSError:
                pass
        try:
            frame = self.session.range(40000, numPartitions=MAPS).selectExpr("id", "sha2(cast(id as string), 256) as v")
            frozen = self.app.freeze(frame.repartition(PARTITIONS, "id"))
            rows, _, _ = self.read(frozen)
            self.read_again(frozen, rows)
            self.assertEqual(rows[0][0], 40000)
        finally:
            os.remove(filler)

    def test_merging_is_switched_off_in_the_middle(self):
        """Of a job's two shuffles the first is merged; when the second is written no node merges any more."""
        frozen, _, _ = self.frozen()
        self.drain("--no-wait", codes=(0, 3, 4))
        try:
            words = frozen.selectExpr("substring(v, 1, 4) as word").groupBy("word").count()
            rows, read, stages = self.app.reading(lambda: words.selectExpr("sum(count)", "count(*)").collect())
        finally:
            self.drain("--stop", codes=(0,))
        self.assertEqual(rows[0][0], 40000)
        self.assertFalse([stage for stage in stages.values() if stage.numFailedTasks()], "a task has failed")
        merged = read["shuffleMergedLocalBytesRead"]
        self.assertGreater(merged, 0, "the first shuffle was not read merged")
        self.assertGreater(read["shuffleReadBytes"], merged, "the second shuffle was read merged")

    def drain(self, argument, codes):
        for node in range(4):
            done = self.app.cluster.run(node, "drain", argument)
            self.assertIn(done.returncode, codes, done.stdout + done.stderr)

    def test_an_executor_dies_and_its_map_outputs_are_gone(self):
        job = RecordJob(self.session.sparkContext, MAPS, PARTITIONS, 50000)
        job.run_maps()
        self.app.wait_merged(job.shuffle(), MAPS)
        self.assertEqual(self.app.cluster.run(0, "drop", f"{self.app.app}/{job.shuffle()}").returncode, 0)
        self.assertGreater(self.remove_origins(job.shuffle(), ".*", self.app.cluster.nodes[:1]), 0)
        _, stages = self.stages_while_paused(job, "executor", lambda: self.kill_executor(0))
        self.assertEqual(len(self.rerun(stages)), 1, "the map stage did not run again")

    def kill_executor(self, node):
        address = self.app.cluster.nodes[node]["address"]
        for pid in [pid for pid, its in self.app.spark_cluster.executors().items() if its == address]:
            os.kill(pid, signal.SIGKILL)

    def stages_while_paused(self, job, kind, action):
        """Reads the job; `action` is done when a reduce task has read its first record, before it reads on."""
        def act():
            until(lambda: begun_tasks(self.directory, kind), "a reduce task reads")
            action()
            resume(self.directory, kind)
        acting = threading.Thread(target=act)
        acting.start()
        try:
            _, read, stages = self.app.reading(lambda: job.check(pause(self.directory, kind)))
        finally:
            resume(self.directory, kind)
            acting.join()
        return read, stages

    def test_y_the_owner_dies_while_it_is_read(self):
        """It stays dead. The three reduce tasks that run first have read one record, the others come after its death. Partitions of 16 MB
        are more than is read ahead."""
        frozen, shuffle, result = self.frozen()
        self.assertTrue([partition for node, partition, _ in self.app.merged_files(shuffle) if node == 3], "the fourth node owns nothing")
        job = RecordJob(self.session.sparkContext, MAPS, 6, 2_000_000, record_bytes=100_000)
        job.run_maps()
        self.app.wait_merged(job.shuffle(), MAPS)
        read, stages = self.stages_while_paused(job, "owner", lambda: self.app.cluster.signal(3, signal.SIGKILL))
        self.assertFalse([stage for stage in stages.values() if stage.numFailedTasks()], "a task has failed")
        read, stages = self.read_again(frozen, result)
        self.assertFalse([stage for stage in stages.values() if stage.numFailedTasks()], "a task has failed")
        self.assertGreater(read["shuffleMergedLocalBytesRead"], 0)

    def test_z_the_loss_of_a_node_without_replication(self):
        """What the test of replication compares with: here map tasks run again. One node fewer than before, as the fourth is dead."""
        frame = self.session.range(40000, numPartitions=MAPS).selectExpr("id", "sha2(cast(id as string), 256) as v")
        frozen = self.app.freeze(frame.repartition(PARTITIONS, "id"))
        result = self.read(frozen)[0]
        self.app.lose_node(2)
        _, stages = self.read_again(frozen, result)
        self.assertEqual(len(self.rerun(stages)), 1, "the map stage did not run again")

    # ---- SQL

    def test_queries_answer_as_stock_spark_does(self):
        make_tables(self.session, SCALE)
        answers = collections.defaultdict(dict)
        (_, read, stages) = self.app.reading(lambda: self.ask_all(answers))
        self.assertEqual(self.stock.wait(), 0)
        with open(self.expected, encoding="utf-8") as file:
            expected = json.load(file)
        for adaptive, of_queries in answers.items():
            for name, rows in of_queries.items():
                self.assertEqual(rows, expected[name], f"{name}, adaptive execution {adaptive}")
                self.assertTrue(rows, name)
        self.assertEqual(sum(stage.numFailedTasks() for stage in stages.values()), 0)
        print(f"{len(QUERIES)} queries, with and without adaptive execution: "
              f"{100 * read['shuffleMergedLocalBytesRead'] // read['shuffleReadBytes']} % of {read['shuffleReadBytes']} bytes read merged")

    def ask_all(self, answers):
        # Small limits, so that adaptive execution coalesces, splits skewed partitions and reads map outputs locally.
        settings = {"spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": "20k",
                    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "16k",
                    "spark.sql.adaptive.skewJoin.skewedPartitionFactor": "1.5",
                    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
                    "spark.sql.autoBroadcastJoinThreshold": "4k", "spark.sql.shuffle.partitions": "6"}
        for name, value in settings.items():
            self.session.conf.set(name, value)
        try:
            for adaptive in ("true", "false"):
                self.session.conf.set("spark.sql.adaptive.enabled", adaptive)
                for name in QUERIES:
                    answers[adaptive][name] = answer(self.session, name)
        finally:
            self.session.conf.set("spark.sql.adaptive.enabled", "false")
            for name in settings:
                self.session.conf.unset(name)


if __name__ == "__main__":
    main_with_spark()
