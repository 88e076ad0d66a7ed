"""Which of several commits under one name counts: two attempts of one map id on two nodes, an executor that registers again
with other directories, a name that is used again after a drop. One answer for all partitions and all readers, by order of
events and by nobody's clock."""

import itertools
import json
import os
import signal
import subprocess
import tempfile
import threading
import unittest

import ess_client
from shuffle_cluster import Cluster, blocks_in, make_blocks, until, what_is_wrong
from spark_files import Executor

SIZES = [100, 3000, 0, 20_000, 70, 900]
PARTITIONS = range(len(SIZES))
NODES = range(3)
SOON = 15  # seconds


def expected(partition, maps, attempt):
    return [(map_id, make_blocks(map_id, SIZES, attempt)[partition]) for map_id in maps]


def wrong_reads(cluster, shuffle, maps, attempt, nodes=NODES, suffix="", errors=("EIO",)):
    """All reads of a shuffle that are not exactly of this attempt, as texts."""
    wrong = []
    for (node, partition), outcome in cluster.outcomes(nodes, shuffle, PARTITIONS, suffix).items():
        what = what_is_wrong(outcome, partition, expected(partition, maps, attempt), errors)
        if what:
            wrong.append(f"{shuffle}, partition {partition}{suffix} on node{node + 1}: {what}")
    return wrong


def register(cluster, node, app, executor_id, disk_directory):
    """A new Executor whose directories are below this one, and the service told of it."""
    executor = Executor([cluster.path(node, "local", "disk0", disk_directory, str(number)) for number in range(2)])
    with ess_client.Connection(cluster.spark_address(node)) as connection:
        answer = connection.rpc(ess_client.register(app, executor_id, executor.local_dirs))
    assert isinstance(answer, ess_client.RpcResponse), answer
    return executor


def fetch(cluster, node, app, executor_id, map_id, shuffle=0):
    """The blocks that are not empty, as the service gives them; an error as its text."""
    wanted = [partition for partition in PARTITIONS if SIZES[partition]]
    with ess_client.Connection(cluster.spark_address(node)) as connection:
        stream, count = connection.open_stream(ess_client.fetch_blocks(app, executor_id, shuffle, [(map_id, wanted)]))
        return [answer.body if isinstance(answer, ess_client.ChunkSuccess) else str(answer)
                for answer in connection.chunks(stream, count)]


class IdentityCase(unittest.TestCase):
    def fail_if(self, wrong, when):
        with self.subTest(when):
            if wrong:
                self.fail(f"{len(wrong)} wrong, {when}:\n" + "\n".join(wrong[:30]))


class TwoAttempts(IdentityCase):
    MAPS = 30

    def commit_twice(self, cluster, shuffle, form):
        """All map ids on the first two nodes, at the same time, of the same lengths."""
        def commit(node):
            if form == "spark":
                executor = register(cluster, node, shuffle.split("/", maxsplit=1)[0], str(node), f"{form}-{node}")
            for map_id in range(self.MAPS):
                blocks = make_blocks(map_id, SIZES, attempt=node)
                if form == "spark":
                    executor.commit(0, map_id, blocks)
                else:
                    (cluster.write_directory if form == "directory" else cluster.write_files)(node, shuffle, map_id, blocks)

        threads = [threading.Thread(target=commit, args=(node,)) for node in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A rename in maps/ returns when everybody can see the map output; Spark's files are noted a moment later.
        until(lambda: all(sum(name.endswith(".data") for name in os.listdir(cluster.path(node, "shuffles", shuffle, "maps")))
                          == self.MAPS for node in (0, 1)) or form == "directory", f"all of {shuffle} is committed")

    def check_one_attempt_each(self, cluster, shuffle, when):
        """Every map id is there once in each partition, and the same attempt of it everywhere."""
        winners, wrong = {}, []
        blocks_of = {(m, attempt): make_blocks(m, SIZES, attempt) for m in range(self.MAPS) for attempt in (0, 1)}
        for (node, partition), outcome in cluster.outcomes(NODES, shuffle, PARTITIONS).items():
            place = f"{shuffle}, partition {partition} on node{node + 1}"
            if outcome == "EIO":
                continue
            if isinstance(outcome, str):
                wrong.append(f"{place}: {outcome}")
                continue
            try:
                blocks = blocks_in(outcome, partition)
            except AssertionError as error:
                wrong.append(f"{place}: {error}")
                continue
            if sorted(map_id for map_id, _ in blocks) != (list(range(self.MAPS)) if SIZES[partition] else []):
                wrong.append(f"{place}: {len(blocks)} blocks instead of {self.MAPS}")
            for map_id, block in blocks:
                attempt = [a for a in (0, 1) if blocks_of[map_id, a][partition] == block]
                winners.setdefault(map_id, {}).setdefault(attempt[0] if attempt else "neither", []).append(place)
        for map_id, attempts in winners.items():
            if len(attempts) > 1:
                wrong.append(f"{shuffle}, map {map_id} is of both attempts: {[(a, len(p)) for a, p in attempts.items()]}")
        self.fail_if(wrong, when)
        return {map_id: next(iter(attempts)) for map_id, attempts in winners.items()}

    def test_two_attempts_of_every_map_id_on_two_nodes(self):
        with Cluster(3) as cluster:
            shuffles = {form: f"{form}/0" for form in ("directory", "pair", "spark")}
            for form, shuffle in shuffles.items():
                self.commit_twice(cluster, shuffle, form)
                self.check_one_attempt_each(cluster, shuffle, "while it is merged")
            before = {}
            for shuffle in shuffles.values():
                with self.subTest(f"wait counts map ids of {shuffle}"):
                    done = cluster.run(2, "wait", shuffle, "--maps", str(self.MAPS + 1), "--timeout", "500ms")
                    self.assertEqual(done.returncode, 4, done.stdout + done.stderr)
                cluster.wait_for_maps(2, shuffle, self.MAPS)
                before[shuffle] = self.check_one_attempt_each(cluster, shuffle, "when all is merged")
            for node in NODES:
                cluster.kill_worker(node)
            for shuffle in shuffles.values():
                after = self.check_one_attempt_each(cluster, shuffle, "with new workers")
                self.fail_if([f"{shuffle}, map {m}: {before[shuffle][m]}, then {after[m]}" for m in after
                              if after[m] != before[shuffle].get(m)], "the choice is the same with new workers")

    def test_without_merging(self):
        with Cluster(3, "--push.enabled=false") as cluster:
            self.commit_twice(cluster, "pair/0", "pair")
            until(lambda: all(cluster.metric(node, "shufflefs_announce_pending") == 0 for node in NODES), "all is told")
            self.check_one_attempt_each(cluster, "pair/0", "without merging")


class RegisteredAgain(IdentityCase):
    """A second attempt of an application has the same id, the same executors, shuffles and map ids, and other directories."""

    MAPS = (0, 1)

    def check(self, cluster, app, node, attempt, when):
        wrong = wrong_reads(cluster, f"{app}/0", self.MAPS, attempt)
        # Of .merged what is there is of the new attempt; what is not merged yet is missing from it.
        for (reader, partition), outcome in cluster.outcomes(NODES, f"{app}/0", PARTITIONS, ".merged").items():
            good = [block for block in expected(partition, self.MAPS, attempt) if block[1]]
            if isinstance(outcome, str):
                wrong += [f"{partition}.merged on node{reader + 1}: {outcome}"] if outcome != "EIO" else []
            elif any(block not in good for block in blocks_in(outcome, partition)):
                wrong.append(f"{partition}.merged on node{reader + 1} has blocks of another attempt")
        for map_id in self.MAPS:
            if fetch(cluster, node, app, "1", map_id) != [block for block in make_blocks(map_id, SIZES, attempt) if block]:
                wrong.append(f"the service gives other bytes of map {map_id}")
        self.fail_if(wrong, when)

    def commit(self, executor, attempt):
        for map_id in self.MAPS:
            executor.commit(0, map_id, make_blocks(map_id, SIZES, attempt))

    def wait_until_seen(self, cluster, app, attempt):
        """Spark's files are noted a moment after their rename. What is wrong is shown by the check that follows."""
        try:
            until(lambda: not wrong_reads(cluster, f"{app}/0", self.MAPS, attempt, errors=()), "it is seen", SOON)
        except AssertionError:
            pass

    def test_on_the_same_node_and_on_another(self):
        with Cluster(3) as cluster:
            for app, second in (("same-node", 0), ("other-node", 1)):
                first = register(cluster, 0, app, "1", f"{app}-first")
                self.commit(first, 0)
                cluster.wait_for_maps(2, f"{app}/0", len(self.MAPS))
                self.check(cluster, app, 0, 0, f"{app}: the first attempt")
                again = register(cluster, second, app, "1", f"{app}-second")
                self.commit(again, 1)
                self.wait_until_seen(cluster, app, 1)
                self.check(cluster, app, second, 1, f"{app}: the second attempt")
                cluster.kill_worker(second)
                self.check(cluster, app, second, 1, f"{app}: the second attempt, with a new worker")
                # What the first attempt writes late, into its own directories, is nobody's.
                if second == 0:
                    first.commit(0, 0, make_blocks(0, SIZES, 0))
                    self.check(cluster, app, second, 1, f"{app}: the first attempt was late")


class Clocks(IdentityCase):
    """One node's clock is an hour ahead or behind. The newest bytes are read, whoever drops and whoever restarts."""

    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        cls.shim = os.path.join(cls.place.name, "clock_shim.so")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support/clock_shim.c")
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", cls.shim, source], check=True, timeout=60)

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    def lives(self, cluster, app, odd):
        """Three lives of two names, Spark's and a generic one; each is dropped by another node."""
        spark, generic = f"{app}-spark", f"{app}-generic"
        executor = register(cluster, 0, spark, "1", spark)
        for life, dropper in enumerate([odd, (odd + 1) % 3, None]):
            maps = [life]  # a map id of its own, so that an older life would show up as well
            executor.commit(0, life, make_blocks(life, SIZES, life))
            cluster.write_files(1, f"{generic}/0", life, make_blocks(life, SIZES, life))
            for shuffle in (f"{spark}/0", f"{generic}/0"):
                cluster.wait_for_maps(0, shuffle, 1)
                self.fail_if(wrong_reads(cluster, shuffle, maps, life), f"{app}, life {life}")
            if dropper is not None:
                for each in (spark, generic):
                    os.rmdir(cluster.path(dropper, "shuffles", each, "0"))
        for node in NODES:
            cluster.kill_worker(node)
            for shuffle in (f"{spark}/0", f"{generic}/0"):
                self.fail_if(wrong_reads(cluster, shuffle, [2], 2, errors=()), f"{app}, node{node + 1} has a new worker")

    def same_id_again(self, cluster, app, odd):
        """One map id, committed on the odd node, removed, then committed elsewhere, and the other way about."""
        for number, (first, second) in enumerate(itertools.permutations([odd, (odd + 1) % 3])):
            shuffle = f"{app}-again{number}/0"
            cluster.write_files(2 if odd != 2 else 0, shuffle, 9, make_blocks(9, SIZES))
            cluster.write_directory(first, shuffle, 5, make_blocks(5, SIZES, 0))
            cluster.wait_for_maps(first, shuffle, 2)
            subprocess.run(["rm", "-r", cluster.path(first, "shuffles", shuffle, "maps", "5")], check=True, timeout=60)
            cluster.write_directory(second, shuffle, 5, make_blocks(5, SIZES, 1))
            wrong = []
            for when in ("", " with new workers"):
                for (node, partition), outcome in cluster.outcomes(NODES, shuffle, PARTITIONS).items():
                    wanted = [(5, make_blocks(5, SIZES, 1)[partition]), (9, make_blocks(9, SIZES)[partition])]
                    what = what_is_wrong(outcome, partition, wanted)
                    wrong += [f"partition {partition} on node{node + 1}{when}: {what}"] if what else []
                for node in (first, second) if not when else ():
                    cluster.kill_worker(node)
            self.fail_if(wrong, f"{shuffle}: removed on node{first + 1}, then committed on node{second + 1}")

    def check_clock(self, offset):
        with Cluster(3) as cluster:
            odd = 2
            cluster.stop(odd)
            # The sanitizers want to be first among the libraries that are preloaded; they do not mind.
            options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
            cluster.restart(odd, {"LD_PRELOAD": self.shim, "CLOCK_OFFSET": str(offset), "ASAN_OPTIONS": options})
            ours = json.loads(cluster.ask(0, "/api/v1/clock")[1])["unix_ms"]
            theirs = json.loads(cluster.ask(odd, "/api/v1/clock")[1])["unix_ms"]
            self.assertLess(abs(theirs - ours - offset * 1000), 600_000, "the shim does not work")
            self.lives(cluster, "clock", odd)
            self.same_id_again(cluster, "clock", odd)
            # A clock that jumps back: the node is started with the right one.
            cluster.signal(odd, signal.SIGKILL)
            cluster.restart(odd)
            for shuffle in ("clock-spark/0", "clock-generic/0"):
                self.fail_if(wrong_reads(cluster, shuffle, [2], 2), "the clock was set right")
            self.lives(cluster, "right", odd)

    def test_a_node_an_hour_ahead(self):
        self.check_clock(3600)

    def test_a_node_an_hour_behind(self):
        self.check_clock(-3600)


if __name__ == "__main__":
    unittest.main()
