"""What may happen to a cluster, one step after the other, on real daemons and in the model."""

import os
import shutil
import signal
import subprocess

import ess_client
from shuffle_cluster import runs, until
from spark_files import Executor

from model import PARTITIONS, Attempt

SOON = 20  # seconds that something may take to be noted everywhere
APPS = ("alpha", "beta", "gamma")
NODES = 4  # the last of them joins while the others are at work


class Steps:
    """Each method is a step and returns a line for the history, or None if it does not apply now."""

    def __init__(self, cluster, model, chance, without=()):
        self.cluster, self.model, self.chance, self.without = cluster, model, chance, without
        self.executors = {}  # (app, node) -> Executor
        self.next_map = 0
        self.next_directory = 0
        self.disks = [0] * NODES  # how many each node has lost
        self.mounts = [0] * NODES  # how often each node's mount has gone, and its open files with it

    def weighted(self):
        return {self.commit: 30, self.commit_spark: 16, self.commit_twin: 6, self.register_again: 4, self.remove: 8,
                self.drop: 7, self.kill_worker: 6, self.kill_node: 5, self.start_node: 14, self.stop_and_start: 3,
                self.lose_disk: 3, self.join: 2}

    def take(self):
        """Some step that applies."""
        steps = {step: weight for step, weight in self.weighted().items() if step.__name__ not in self.without}
        while True:
            [step] = self.chance.choices(list(steps), list(steps.values()))
            line = step()
            if line:
                return line

    # ---- helpers ---------------------------------------------------------------------------------------------------

    def name_of(self, form):
        """A few names each, so that they are used again."""
        return f"{self.chance.choice(APPS)}-{'spark' if form == 'spark' else 'generic'}/0"

    def some_node(self):
        return self.chance.choice(self.model.members())

    def wait_for_peers(self):
        self.cluster.wait_for_peers(self.model.members(), SOON)

    def write(self, attempt, name):
        if attempt.form == "spark":
            executor = self.executors[name, attempt.node]
            executor.commit(0, attempt.map_id, attempt.blocks)
            # Spark's files are noted a moment after their rename.
            self.wait_for_listing(attempt, name, True)
        else:
            write = self.cluster.write_directory if attempt.form == "directory" else self.cluster.write_files
            write(attempt.node, name, attempt.map_id, attempt.blocks)

    def wait_for_listing(self, attempt, name, there):
        maps = self.cluster.path(attempt.node, "shuffles", name, "maps")
        until(lambda: (f"{attempt.map_id}.data" in (os.listdir(maps) if os.path.isdir(maps) else [])) == there,
              f"{attempt} is {'' if there else 'not '}listed", SOON)

    def register(self, name, node):
        app = name.split("/", maxsplit=1)[0]
        self.next_directory += 1
        # Registering again begins a new life of an executor's outputs: after a lost disk it is another executor.
        executor_id = f"{node}{self.disks[node]:03}"
        executor = Executor([self.cluster.path(node, "local", "disk0", f"{app}-{self.next_directory}-{number}")
                             for number in range(2)])
        with ess_client.Connection(self.cluster.spark_address(node)) as connection:
            answer = connection.rpc(ess_client.register(app, executor_id, executor.local_dirs))
        assert isinstance(answer, ess_client.RpcResponse), f"registering: {answer}"
        self.executors[name, node] = executor

    def new_attempt(self, node, form, map_id=None):
        if map_id is None:
            map_id = self.next_map
            self.next_map += 1
        return Attempt(map_id, node, form, f"{node}{self.disks[node]:03}")

    # ---- map outputs -----------------------------------------------------------------------------------------------

    def commit(self):
        form = self.chance.choice(["directory", "pair"])
        name, attempt = self.name_of(form), self.new_attempt(self.some_node(), form)
        self.write(attempt, name)
        self.model.shuffle(name, form).commit(attempt)
        return f"commit {attempt} of {name}"

    def commit_spark(self):
        name, attempt = self.name_of("spark"), self.new_attempt(self.some_node(), "spark")
        if (name, attempt.node) not in self.executors:
            self.register(name, attempt.node)
        self.write(attempt, name)
        self.model.shuffle(name, "spark").commit(attempt)
        return f"commit {attempt} of {name}"

    def commit_twin(self):
        """A second attempt of a map id, on another node."""
        found = [(name, attempts[0]) for name, shuffle in self.model.shuffles.items() if shuffle.form != "spark"
                 for attempts in shuffle.attempts.values() if len(attempts) == 1 and not attempts[0].lost]
        if not found:
            return None
        name, first = self.chance.choice(found)
        others = [node for node in self.model.members() if node != first.node]
        attempt = self.new_attempt(self.chance.choice(others), first.form, first.map_id)
        self.write(attempt, name)
        self.model.shuffles[name].commit(attempt)
        return f"commit {attempt} of {name}, beside {first}"

    def register_again(self):
        """An executor with other directories writes its map outputs anew."""
        places = [place for place in self.executors if place[0] in self.model.shuffles and self.model.up[place[1]]]
        if not places:
            return None
        name, node = self.chance.choice(places)
        shuffle = self.model.shuffles[name]
        old = [attempt for attempt in shuffle.all() if attempt.node == node]
        if not old:
            return None
        self.register(name, node)
        for before in old:
            attempt = self.new_attempt(node, "spark", before.map_id)
            self.write(attempt, name)
            shuffle.commit(attempt, replaces=before)
        # The listing is the same for both: wait until the origin itself reads the new ones.
        expected = shuffle.expected()
        until(lambda: not any(self.model.judge_held(expected, partition, self.cluster.outcome(node, name, partition))
                              for partition in range(PARTITIONS)), f"the new bytes of {name} are seen", SOON)
        return f"executor {node} of {name} registered again and wrote {len(old)} map outputs anew"

    def remove(self):
        found = [(name, attempts[0]) for name, shuffle in self.model.shuffles.items() for attempts in shuffle.attempts.values()
                 if len(attempts) == 1 and not attempts[0].lost and self.model.up[attempts[0].node]]
        if not found:
            return None
        name, attempt = self.chance.choice(found)
        if attempt.form == "spark":
            executor, stem = self.executors[name, attempt.node], f"shuffle_0_{attempt.map_id}_0"
            for suffix in (".data", ".index", ".checksum.ADLER32"):
                os.remove(executor.path(stem + suffix))
            self.wait_for_listing(attempt, name, False)
        else:
            maps = self.cluster.path(attempt.node, "shuffles", name, "maps")
            paths = [f"{maps}/{attempt.map_id}"] if attempt.form == "directory" else \
                [f"{maps}/{attempt.map_id}.data", f"{maps}/{attempt.map_id}.index"]
            subprocess.run(["rm", "-r", *paths], check=True, timeout=60)
        self.model.shuffles[name].remove(attempt)
        return f"remove {attempt} of {name}"

    def drop(self):
        names = [name for name, shuffle in self.model.shuffles.items() if shuffle.attempts]
        if not names:
            return None
        name, node = self.chance.choice(names), self.some_node()
        os.rmdir(self.cluster.path(node, "shuffles", name))
        self.model.drop(name)
        for place in [place for place in self.executors if place[0] == name]:
            del self.executors[place]  # what comes next under this name is another application's
        return f"drop {name} on node{node + 1}"

    # ---- nodes -----------------------------------------------------------------------------------------------------

    def kill_worker(self):
        node = self.some_node()
        self.cluster.kill_worker(node)
        self.wait_for_peers()
        return f"kill the worker of node{node + 1}"

    def kill_node(self):
        """Never two at a time: who knows of something must be there to tell."""
        if self.model.somebody_is_away():
            return None
        node = self.some_node()
        self.cluster.signal(node, signal.SIGKILL)
        self.mounts[node] += 1
        self.model.up[node] = False
        return f"kill node{node + 1}"

    def start_node(self):
        down = self.model.members(up=False)
        if not down:
            return None
        self.start(down[0])
        return f"start node{down[0] + 1}"

    def stop(self, node):
        self.cluster.stop(node)
        self.mounts[node] += 1

    def start(self, node):
        self.cluster.restart(node)
        self.model.up[node] = True
        self.wait_for_peers()

    def stop_and_start(self):
        if self.model.somebody_is_away():
            return None
        node = self.some_node()
        self.stop(node)
        self.start(node)
        return f"stop and start node{node + 1}"

    def lose_disk(self):
        """A node comes back with an empty disk, after everybody was told of what it had."""
        if self.model.somebody_is_away():
            return None
        until(lambda: all(self.cluster.metric(node, "shufflefs_announce_pending") == 0 for node in self.model.members()),
              "everything has been told", SOON)
        node = self.some_node()
        self.stop(node)
        shutil.rmtree(self.cluster.nodes[node]["data"])
        os.mkdir(self.cluster.nodes[node]["data"])
        self.start(node)
        self.disks[node] += 1
        self.model.lose_disk(node)
        for place in [place for place in self.executors if place[1] == node]:
            del self.executors[place]
        return f"node{node + 1} comes back with an empty disk"

    def join(self):
        node = NODES - 1
        if self.model.joined[node] or self.model.somebody_is_away():
            return None
        assert not runs(self.cluster.nodes[node]["pid"])
        self.model.joined[node] = True
        self.start(node)
        return f"node{node + 1} joins"
