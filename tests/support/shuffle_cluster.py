"""A development cluster for tests: `shufflefs cluster up` on real daemons, and map outputs whose bytes can be checked.

Needs root and /dev/fuse. SHUFFLEFS_BUILD is the directory with the program; SHUFFLEFS_TEST_FIRST_ADDRESS lets clusters run
side by side.
"""

import concurrent.futures
import errno
import itertools
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import zlib

PROGRAM = os.path.join(os.environ.get("SHUFFLEFS_BUILD", "build"), "shufflefs")
PATIENCE = 120  # seconds that anything may take, also under a sanitizer on a busy machine

# A block that can be checked wherever it turns up: magic, map, partition, payload length, crc32 of the payload.
HEADER = struct.Struct(">4sqiqI")
MAGIC = b"BLCK"


def until(condition, what, patience=PATIENCE):
    """Waits for a condition; a test that waits in vain fails with what it waited for."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience} s in vain until {what}")
        time.sleep(0.02)


def end(process, patience=20):
    """Ends a process that was started here, if it still runs: by SIGTERM, or SIGKILL if that takes too long."""
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def runs(pid):
    """Whether there is such a process, and it is more than a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def is_dead(mount):
    """Whether nobody serves it any more."""
    try:
        os.stat(mount)
        return False
    except OSError as error:
        return error.errno == errno.ENOTCONN


def command_of(pid):
    """The words of a process's command line; of one that is gone none."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            return file.read().split("\0")[:-1]
    except FileNotFoundError:
        return []


class Cluster:
    """Nodes node1..nodeN at 127.0.0.11... Use as a context manager. Everything of theirs lies below `below`. `prepare` is
    called with the cluster's directory before anything is started."""

    def __init__(self, nodes, *flags, leave_down=(), prepare=None, below=None):
        self.directory = tempfile.mkdtemp(prefix="shufflefs-cluster-", dir=below or os.environ.get("TMPDIR", "/var/tmp"))
        self.restarted = []  # processes that `cluster down` does not know
        if prepare:
            prepare(self.directory)
        command = [PROGRAM, "cluster", "up", "--nodes", str(nodes), "--dir", self.directory]
        if "SHUFFLEFS_TEST_FIRST_ADDRESS" in os.environ:
            command += ["--first-address", os.environ["SHUFFLEFS_TEST_FIRST_ADDRESS"]]
        for name in leave_down:
            command += ["--leave-down", name]
        if flags:
            command += ["--", *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            self.down()
            raise AssertionError(f"cluster up failed:\n{done.stdout}{done.stderr}")
        self.nodes = self.status()
        self.commands = [command_of(node["pid"]) for node in self.nodes]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()

    def status(self):
        done = subprocess.run([PROGRAM, "cluster", "status", "--dir", self.directory, "--json"], capture_output=True,
                              text=True, timeout=PATIENCE, check=False)
        return json.loads(done.stdout)["nodes"]

    def down(self):
        for process in self.restarted:
            process.terminate()
        for process in self.restarted:
            process.wait(PATIENCE)
        subprocess.run([PROGRAM, "cluster", "down", "--dir", self.directory], capture_output=True, timeout=PATIENCE,
                       check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def mount(self, node):
        return self.nodes[node]["mount"]

    def path(self, node, *parts):
        return os.path.join(self.mount(node), *parts)

    def log(self, node):
        directory = os.path.join(self.directory, self.nodes[node]["name"], "log")
        text = ""
        for name in sorted(os.listdir(directory)):
            with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
                text += file.read()
        return text

    def run(self, node, *arguments, timeout=PATIENCE):
        """A client command against one node."""
        http = f"{self.nodes[node]['http_address']}:{self.nodes[node]['http_port']}"
        return subprocess.run([PROGRAM, *arguments, "--http", http], capture_output=True, text=True, timeout=timeout,
                              check=False)

    def metric(self, node, name):
        with open(self.path(node, ".shufflefs", "metrics"), encoding="utf-8") as file:
            for line in file:
                if line.startswith(name + " "):
                    return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def workers(self, node):
        """The processes that the node's supervisor has started and that still run."""
        done = subprocess.run(["pgrep", "-P", str(self.nodes[node]["pid"])], capture_output=True, text=True, check=False)
        return [int(pid) for pid in done.stdout.split()]

    def signal(self, node, number):
        """To the node's supervisor. After SIGKILL its worker is gone as well, and its mount dead."""
        supervisor = self.nodes[node]["pid"]
        processes = [supervisor, *self.workers(node)]
        os.kill(supervisor, number)
        if number == signal.SIGKILL:
            until(lambda: not any(runs(pid) for pid in processes), "the killed processes are gone")
            # The kernel answers a stat of its root from memory for a moment more.
            until(lambda: is_dead(self.mount(node)), "the mount is dead")

    def stop(self, node):
        """As an operator does; returns when it has ended."""
        pid = self.nodes[node]["pid"]
        os.kill(pid, signal.SIGTERM)
        until(lambda: not runs(pid), f"node {node} has ended")

    def kill_worker(self, node):
        """The mount survives it; returns when the next worker answers."""
        killed = self.workers(node)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until(lambda: (now := self.workers(node)) and not set(now) & set(killed), f"node {node} has a new worker")
        until(lambda: self.run(node, "status").returncode == 0, f"the new worker of node {node} answers")

    def restart(self, node, environment=None):
        """Starts the daemon of a node that was stopped, by its entry in `commands`; returns when it answers."""
        with open(os.path.join(self.directory, self.nodes[node]["name"], "log", "serve.log"), "ab") as log:
            process = subprocess.Popen(self.commands[node], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env={**os.environ, **(environment or {})})
        self.restarted.append(process)
        self.nodes[node]["pid"] = process.pid
        until(lambda: process.poll() is not None or self.run(node, "status").returncode == 0, f"node {node} is up again")
        assert process.poll() is None, f"node {node} did not start:\n{self.log(node)[-2000:]}"

    def set_option(self, node, name, value):
        """For the next start of the node: `--name value` instead of what it had."""
        command = self.commands[node]
        if name in command:
            command[command.index(name) + 1] = value
        else:
            command += [name, value]

    def ask(self, node, path, timeout=20):
        """(HTTP status, body)."""
        base = f"http://{self.nodes[node]['http_address']}:{self.nodes[node]['http_port']}"
        try:
            with urllib.request.urlopen(base + path, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def wait_for_peers(self, nodes=None, patience=PATIENCE):
        """Until these nodes (all) see each other as up."""
        nodes = range(len(self.nodes)) if nodes is None else nodes
        names = {self.nodes[node]["name"] for node in nodes}

        def see_each_other():
            for node in nodes:
                answer = json.loads(self.ask(node, "/api/v1/status")[1])
                if not names <= {self.nodes[node]["name"]} | {peer["name"] for peer in answer["peers"] if peer["up"]}:
                    return False
            return True
        until(see_each_other, f"{sorted(names)} see each other", patience)

    def spark_address(self, node):
        return self.nodes[node]["address"], self.nodes[node]["spark_port"]

    def owners(self, shuffle, partitions, node=0):
        """[(owner, second choice)] of each partition of a shuffle, as numbers of nodes."""
        number = {each["name"]: i for i, each in enumerate(self.nodes)}
        found = []
        with open(self.path(node, ".shufflefs", "owners", f"{shuffle.replace('/', ',')},{partitions}"), encoding="utf-8") as file:
            for line in file:
                first, last, *names = line.split()
                found += [tuple(number.get(name) for name in names)] * (int(last) - int(first) + 1)
        return found

    def wait_for_maps(self, node, shuffle, maps, patience=PATIENCE):
        done = self.run(node, "wait", shuffle, "--maps", str(maps), "--timeout", f"{patience}s", timeout=patience + 30)
        assert done.returncode == 0, f"wait: {done.returncode}: {done.stdout}{done.stderr}"

    # ---- map outputs ------------------------------------------------------------------------------------------

    def write_directory(self, node, shuffle, map_id, blocks):
        """A generic map output: a directory of partition files, committed by its rename."""
        maps = self.path(node, "shuffles", shuffle, "maps")
        os.makedirs(maps, exist_ok=True)
        temporary = os.path.join(maps, f".tmp-{map_id}")
        os.mkdir(temporary)
        for partition, block in enumerate(blocks):
            if block:
                with open(os.path.join(temporary, str(partition)), "wb") as file:
                    file.write(block)
        # One file more, empty: the last partition, so that every output has the same number.
        with open(os.path.join(temporary, str(len(blocks) - 1)), "ab"):
            pass
        os.rename(temporary, os.path.join(maps, str(map_id)))

    def write_files(self, node, shuffle, map_id, blocks):
        """The same as a pair of files in Spark's format."""
        maps = self.path(node, "shuffles", shuffle, "maps")
        os.makedirs(maps, exist_ok=True)
        write_pair(maps, f"{map_id}", blocks)

    def read_partition(self, node, shuffle, partition, suffix=""):
        with open(self.path(node, "shuffles", shuffle, "partitions", f"{partition}{suffix}"), "rb") as file:
            return file.read()

    def outcome(self, node, shuffle, partition, suffix=""):
        """What a reader gets: the bytes, or the name of the error."""
        try:
            return self.read_partition(node, shuffle, partition, suffix)
        except OSError as error:
            return errno.errorcode[error.errno]

    def outcomes(self, nodes, shuffle, partitions, suffix=""):
        """{(node, partition): outcome}, read side by side, as errors may take their time."""
        places = [(node, partition) for node in nodes for partition in partitions]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            return dict(zip(places, pool.map(lambda place: self.outcome(place[0], shuffle, place[1], suffix), places)))


def index_of(lengths):
    """Spark's index of blocks of these lengths: big-endian offsets."""
    offsets = [0, *itertools.accumulate(lengths)]
    return struct.pack(f">{len(offsets)}q", *offsets)


def write_pair(directory, stem, blocks):
    """<stem>.index and <stem>.data, each written under a temporary name and renamed, the index first, as Spark does."""
    for suffix, content in ((".index", index_of(map(len, blocks))), (".data", b"".join(blocks))):
        temporary = os.path.join(directory, f".{stem}{suffix}.tmp")
        with open(temporary, "wb") as file:
            file.write(content)
        os.rename(temporary, os.path.join(directory, stem + suffix))


def make_block(generator, map_id, partition, length):
    """A block of about `length` bytes (0: empty; else at least its header)."""
    if length == 0:
        return b""
    payload = generator.randbytes(max(0, length - HEADER.size))
    return HEADER.pack(MAGIC, map_id, partition, len(payload), zlib.crc32(payload)) + payload


def make_blocks(map_id, sizes, attempt=0):
    """The blocks of a map output. Those of another attempt have other bytes and the same lengths."""
    generator = random.Random(map_id + 1 + (attempt << 64))
    return [make_block(generator, map_id, partition, size) for partition, size in enumerate(sizes)]


def blocks_in(content, partition):
    """[(map id, block)] in a partition's bytes, in order, each checked; fails on anything else."""
    blocks = []
    at = 0
    while at < len(content):
        assert len(content) - at >= HEADER.size, f"partition {partition} is cut at {at}"
        magic, map_id, its_partition, length, crc = HEADER.unpack_from(content, at)
        assert magic == MAGIC, f"no block begins at {at} of partition {partition}"
        assert its_partition == partition, f"a block of partition {its_partition} is in partition {partition}"
        payload = content[at + HEADER.size:at + HEADER.size + length]
        assert len(payload) == length, f"the block of map {map_id} is cut in partition {partition}"
        assert zlib.crc32(payload) == crc, f"the block of map {map_id} is damaged in partition {partition}"
        blocks.append((map_id, content[at:at + HEADER.size + length]))
        at += HEADER.size + length
    return blocks


def maps_in(content, partition):
    """The map ids of the blocks in a partition's bytes, in order, each checked; fails on anything else."""
    return [map_id for map_id, _ in blocks_in(content, partition)]


def what_is_wrong(outcome, partition, expected, errors=("EIO",)):
    """Of an outcome: nothing (None) if it is all the expected blocks, in any order, or one of these errors; else a text."""
    if isinstance(outcome, str):
        return None if outcome in errors else outcome
    try:
        blocks = blocks_in(outcome, partition)
    except AssertionError as error:
        return str(error)
    wanted = sorted((map_id, block) for map_id, block in expected if block)
    if sorted(blocks) == wanted:
        return None
    maps = sorted(map_id for map_id, _ in blocks)
    if maps == sorted(map_id for map_id, _ in wanted):
        return f"the bytes of another attempt: maps {[b[0] for b in blocks if b not in wanted]}"
    return f"map outputs {maps} instead of {[map_id for map_id, _ in wanted]}"
