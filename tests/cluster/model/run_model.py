"""Steps at random on real daemons, and after each of them reads of all kinds, compared with the model (scripts/model)."""

import argparse
import collections
import errno
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback

import ess_client
from private_network import enter_private_network
from shuffle_cluster import Cluster, runs

from model import PARTITIONS, Model
from steps import APPS, NODES, Steps

HISTORY = 40  # steps that are shown after a failure
NAMES = [f"{app}-{kind}/0" for app in APPS for kind in ("generic", "spark")]


class Wrong(Exception):
    """A read that the model does not allow."""


class Readers:
    """Reads of every kind on any node that is up."""

    def __init__(self, cluster, model, steps, chance):
        self.cluster, self.model, self.steps, self.chance = cluster, model, steps, chance
        self.held = []  # (file, node, which mount of it, name, partition, what was expected when it was opened)
        self.reads = collections.Counter()

    def complain(self, what, wrong):
        self.reads[what.split(" ", maxsplit=1)[0]] += 1
        if wrong:
            raise Wrong(f"{what}: {wrong}")

    def read_some(self):
        self.read_held()
        for name in self.chance.sample(NAMES, 3) + ["nobody/0"]:
            node = self.steps.some_node()
            self.read_partitions(node, name)
            self.read_merged(node, name)
            self.read_blocks(name)
            self.hold(name)

    def outcomes(self, node, name, suffix):
        found = self.cluster.outcomes([node], name, range(PARTITIONS), suffix)
        return [found[node, partition] for partition in range(PARTITIONS)]

    def read_partitions(self, node, name):
        for partition, outcome in enumerate(self.outcomes(node, name, "")):
            self.complain(f"partition {partition} of {name} on node{node + 1}",
                          self.model.judge_partition(name, partition, outcome))

    def read_merged(self, node, name):
        """The index and what it names. Merging goes on: an index is held against the file if it is the same afterwards."""
        reads = zip(*(self.outcomes(node, name, suffix) for suffix in (".index", ".merged", ".index")))
        for partition, (before, merged, after) in enumerate(reads):
            place = f"{partition} of {name} on node{node + 1}"
            self.complain(f"merged {place}", self.model.judge_merged(name, partition, merged))
            if isinstance(before, str):
                self.complain(f"index {place}", self.model.judge_error(name, before))
            elif before == after and isinstance(merged, bytes):
                self.complain(f"index {place}", self.judge_index(before, merged))

    def judge_index(self, index, merged):
        """Each record names exactly a block of its map id."""
        if len(index) < 16 or not index.startswith(b"SFSINDEX"):
            return "it has no header"
        [size] = struct.unpack_from("<I", index, 12)
        for at in range(size, len(index), size):
            map_id, offset, length = struct.unpack_from("<QQQ", index, at)
            block = merged[offset:offset + length]
            if length and (len(block) != length or block[:4] != b"BLCK" or struct.unpack_from(">q", block, 4)[0] != map_id):
                return f"the record of map {map_id} ({offset}, {length}) names no block of it"
        return None

    def read_blocks(self, name):
        """Of what is committed and not replaced, from the service on its node."""
        shuffle = self.model.shuffles.get(name)
        if not shuffle or shuffle.form != "spark":
            return
        for attempt in shuffle.all():
            if not self.model.up[attempt.node]:
                continue
            wanted = [partition for partition in range(PARTITIONS) if attempt.blocks[partition]]
            with ess_client.Connection(self.cluster.spark_address(attempt.node)) as connection:
                stream, count = connection.open_stream(ess_client.fetch_blocks(
                    name.split("/", maxsplit=1)[0], attempt.executor_id, 0, [(attempt.map_id, wanted)]))
                answers = connection.chunks(stream, count)
            for partition, answer in zip(wanted, answers):
                got = answer.body if isinstance(answer, ess_client.ChunkSuccess) else str(answer)
                self.complain(f"block {partition} of {attempt} of {name}", self.model.judge_block(attempt, partition, got))

    # ---- files that stay open while more happens

    def hold(self, name):
        shuffle = self.model.shuffles.get(name)
        if not shuffle or not shuffle.attempts or len(self.held) > 12 or "hold" in self.steps.without:
            return
        node, partition = self.steps.some_node(), self.chance.randrange(PARTITIONS)
        try:
            file = os.open(self.cluster.path(node, "shuffles", name, "partitions", str(partition)), os.O_RDONLY)
        except OSError:
            return  # judged by the reads above
        if self.model.may_fail(name):
            os.close(file)
            return
        self.held.append((file, node, self.steps.mounts[node], name, partition, shuffle.expected()))

    def read_held(self):
        for one in list(self.held):
            file, node, mount, name, partition, expected = one
            if self.chance.random() < 0.6:
                continue
            self.held.remove(one)
            content = b""
            try:
                while piece := os.read(file, 1000):
                    content += piece
            except OSError as error:
                content = errno.errorcode[error.errno]
                if mount != self.steps.mounts[node]:
                    continue  # it has gone with its mount
            finally:
                os.close(file)
            self.complain(f"held {partition} of {name} on node{node + 1}",
                          self.model.judge_held(expected, partition, content))

    def close(self):
        for file, *_ in self.held:
            os.close(file)


def start_cluster():
    """The last node is not listed by the others and does not run yet."""
    cluster = Cluster(NODES, "--memory=64M", "--read.lost-patience=1s")
    try:
        members = [f"{node['name']}={node['address']}:{node['peer_port']}" for node in cluster.nodes]
        for node in range(NODES):
            cluster.stop(node)
            # Nobody may have met the one that is to join.
            shutil.rmtree(cluster.nodes[node]["data"])
            os.mkdir(cluster.nodes[node]["data"])
            cluster.set_option(node, "--members", ",".join(members[:-1] if node < NODES - 1 else [members[0], members[-1]]))
            if node % 2 == 1:  # what happens to Spark's files is told by the kernel, after the fact
                cluster.set_option(node, "--local-mode", "bind")
        for node in range(NODES - 1):
            cluster.restart(node)
        assert not runs(cluster.nodes[-1]["pid"])
        return cluster
    except BaseException:
        cluster.down()
        raise


def keep_logs(cluster):
    place = tempfile.mkdtemp(prefix="shufflefs-model-logs-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    for node, one in enumerate(cluster.nodes):
        with open(os.path.join(place, f"{one['name']}.log"), "w", encoding="utf-8") as file:
            file.write(cluster.log(node))
    return place


def run(minutes, seed, without):
    chance, history, steps_taken = random.Random(seed), collections.deque(maxlen=HISTORY), 0
    print(f"seed {seed}", flush=True)
    with start_cluster() as cluster:
        model = Model(NODES)
        model.joined[-1] = model.up[-1] = False
        steps = Steps(cluster, model, chance, without)
        readers = Readers(cluster, model, steps, chance)
        end = time.monotonic() + minutes * 60
        try:
            while time.monotonic() < end:
                history.append("(a step that did not end)")
                history[-1] = steps.take()
                steps_taken += 1
                readers.read_some()
        except (Wrong, AssertionError, OSError, subprocess.SubprocessError) as error:
            if not isinstance(error, Wrong):
                traceback.print_exc()
            print(f"seed {seed}: wrong after step {steps_taken}: {error}\n\nthe last steps:")
            print("\n".join(f"  {line}" for line in history))
            print(f"\nnodes that are up: {[node + 1 for node in model.members()]}; the logs are in {keep_logs(cluster)}")
            return 1
        finally:
            readers.close()
    print(f"{steps_taken} steps, {sum(readers.reads.values())} reads ({dict(readers.reads)}): none wrong")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--without", default="", help="steps that are left out, as in join,drop, or hold (files that stay open)")
    args = parser.parse_args()
    enter_private_network()
    return run(args.minutes, random.randrange(1 << 32) if args.seed is None else args.seed, args.without.split(","))


if __name__ == "__main__":
    sys.exit(main())
