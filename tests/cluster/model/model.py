"""What readers may get, by what was committed, removed, dropped and lost. It knows no daemon: `steps` tells it what happened,
`readers` asks it whether what was read is right.

A map output is an Attempt; several of one map id may live on different nodes, of which one counts: which one is the cluster's
choice, but it is the same for all partitions and all readers. What was read first decides what the others must be.
"""

from shuffle_cluster import blocks_in, make_blocks

PARTITIONS = 6
SHAPES = ([100, 3000, 0, 9000, 70, 900], [0, 60, 60, 30_000, 0, 300], [500, 0, 700, 0, 20_000, 80])


class Attempt:
    """A committed map output."""

    count = 0

    def __init__(self, map_id, node, form, executor_id):
        Attempt.count += 1
        self.executor_id = executor_id
        self.map_id, self.node, self.form, self.number = map_id, node, form, Attempt.count
        # Attempts of one map id have the same lengths, so that only their bytes tell them apart.
        self.blocks = make_blocks(map_id, SHAPES[map_id % len(SHAPES)], self.number)
        self.lost = False  # its files are gone; there may be merged copies

    def __repr__(self):
        return f"map {self.map_id} (attempt {self.number}, {self.form}, node{self.node + 1}{', lost' if self.lost else ''})"


class Shuffle:
    """One life of a name: from the first commit to the drop."""

    def __init__(self, name, form):
        self.name, self.form = name, form
        self.attempts = {}  # map id -> [Attempt], those that were neither removed nor replaced
        self.former = {}    # map id -> [Attempt], those that were
        self.winner = {}    # map id -> the Attempt that was read, while no other is committed

    def commit(self, attempt, replaces=None):
        """`replaces`: the attempt whose place it takes, as its executor has registered again."""
        known = self.attempts.setdefault(attempt.map_id, [])
        if replaces in known:
            known.remove(replaces)
            self.former.setdefault(attempt.map_id, []).append(replaces)
        known.append(attempt)
        self.winner.pop(attempt.map_id, None)

    def remove(self, attempt):
        self.attempts[attempt.map_id].remove(attempt)
        self.former.setdefault(attempt.map_id, []).append(attempt)
        if not self.attempts[attempt.map_id]:
            del self.attempts[attempt.map_id]
        self.winner.pop(attempt.map_id, None)

    def all(self):
        return [attempt for attempts in self.attempts.values() for attempt in attempts]

    def candidates(self, map_id):
        """The attempts that a reader may get."""
        return [self.winner[map_id]] if map_id in self.winner else self.attempts.get(map_id, [])

    def expected(self):
        """A copy of what a reader may get, by map id: for a file that is open while more happens."""
        return {map_id: list(self.candidates(map_id)) for map_id in self.attempts}

    def is_lossy(self):
        return any(attempt.lost for attempt in self.all())


def mismatch(expected, partition, content, partial=False):
    """What is wrong with a partition's bytes, and {map id: the attempt that was read}. `partial`: blocks may be missing."""
    try:
        blocks = blocks_in(content, partition)
    except AssertionError as error:
        return str(error), {}
    seen = {}
    for map_id, block in blocks:
        if map_id in seen:
            return f"map {map_id} is there twice", {}
        if map_id not in expected:
            return f"map {map_id} is there, which was removed or dropped", {}
        found = [attempt for attempt in expected[map_id] if attempt.blocks[partition] == block]
        if not found:
            return f"the block of map {map_id} is none of {expected[map_id]}", {}
        seen[map_id] = found[0]
    missing = [attempts for map_id, attempts in expected.items() if map_id not in seen and attempts[0].blocks[partition]]
    if missing and not partial:
        return f"short: without {missing}", {}
    return None, seen


class Model:
    """All shuffles and nodes. `judge_*` return None if an outcome is right, else what is wrong with it."""

    def __init__(self, nodes):
        self.up = [True] * nodes
        self.joined = [True] * nodes
        self.shuffles = {}  # name -> Shuffle, the names that are in use
        self.dropped = set()

    # ---- what happened ---------------------------------------------------------------------------------------------

    def shuffle(self, name, form):
        if name not in self.shuffles:
            self.shuffles[name] = Shuffle(name, form)
            self.dropped.discard(name)
        return self.shuffles[name]

    def drop(self, name):
        del self.shuffles[name]
        self.dropped.add(name)

    def lose_disk(self, node):
        for shuffle in self.shuffles.values():
            for attempt in shuffle.all():
                if attempt.node == node:
                    attempt.lost = True

    def somebody_is_away(self):
        return not all(up for up, joined in zip(self.up, self.joined) if joined)

    def members(self, up=True):
        return [node for node, joined in enumerate(self.joined) if joined and self.up[node] == up]

    # ---- what may be read ------------------------------------------------------------------------------------------

    def may_fail(self, name):
        shuffle = self.shuffles.get(name)
        return self.somebody_is_away() or (shuffle is not None and shuffle.is_lossy())

    def judge_error(self, name, outcome):
        shuffle = self.shuffles.get(name)
        if outcome == "ENOENT":
            if shuffle is None or not shuffle.attempts or all(attempt.lost for attempt in shuffle.all()):
                return None
            return f"ENOENT, with {shuffle.all()} committed"
        if outcome == "EIO":
            return None if self.may_fail(name) else "EIO, with nothing lost and everybody there"
        return outcome

    def judge_partition(self, name, partition, outcome):
        if isinstance(outcome, str):
            return self.judge_error(name, outcome)
        shuffle = self.shuffles.get(name)
        if shuffle is None:
            return f"{len(outcome)} bytes and no error of a shuffle that is not there"
        wrong, seen = mismatch(shuffle.expected(), partition, outcome)
        if wrong is None:
            shuffle.winner.update({map_id: attempt for map_id, attempt in seen.items()
                                   if len(shuffle.attempts[map_id]) > 1})
        return wrong

    def judge_merged(self, name, partition, outcome):
        """A part of the blocks, each of an attempt that counts."""
        if isinstance(outcome, str):
            return self.judge_error(name, outcome)
        shuffle = self.shuffles.get(name)
        if shuffle is None:
            return f"{len(outcome)} bytes and no error of a shuffle that is not there"
        # The file is raw, and news of removals take a moment: whoever reads it names the map outputs that count.
        everything = {map_id: shuffle.attempts.get(map_id, []) + shuffle.former.get(map_id, [])
                      for map_id in {*shuffle.attempts, *shuffle.former}}
        return mismatch(everything, partition, outcome, partial=True)[0]

    def judge_held(self, expected, partition, outcome):
        """Of a file that was opened when this was expected."""
        if isinstance(outcome, str):
            return None if outcome == "EIO" else outcome
        return mismatch(expected, partition, outcome)[0]

    def judge_block(self, attempt, partition, outcome):
        """Of the service on the attempt's node, which is up."""
        if isinstance(outcome, bytes):
            return None if outcome == attempt.blocks[partition] else "other bytes"
        return None if attempt.lost else outcome
