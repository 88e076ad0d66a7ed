"""What a conformance case is: a conversation with a shuffle service, and what must come of it, in words.

A case talks to a service through a Context and returns what it saw as text: kinds of answers, classes of errors, the
names of the blocks whose bytes came whole and right. The same case is asked of our daemon (test_ess_conformance.py)
and of the JVM service (scripts/ess-conformance), and the texts are compared with what is written at the case.
Where we want another answer than the JVM service gives, the case says both, and why.
"""

import collections
import itertools
import random
import re

from ess_client import (CLOSED, SORT_MANAGER, ChunkFailure, ChunkSuccess, Connection, Cut, RpcFailure, RpcResponse,
                        StreamFailure, StreamResponse, register)
from spark_files import SUB_DIRS, Executor

Case = collections.namedtuple("Case", "name run expected jvm why says")
CASES = []
NUMBERS = itertools.count(1)


def case(name, expected, jvm=None, why=None, says=()):
    """Lists a case. `jvm`: the JVM service's other answer, `why` we want ours. `says`: what the text of our error
    must contain; {app} stands for the application."""
    assert (jvm is None) == (why is None)

    def add(run):
        CASES.append(Case(name, run, expected, expected if jvm is None else jvm, why, says))
        return run
    return add


# ---- Blocks that are known again ---------------------------------------------------------------------------------------


def block(label, size):
    """Bytes that say what they are, at least `size` many."""
    payload = random.Random(f"{label} {size}").randbytes(size)
    return f"[{label}:{size}]".encode() + payload


def map_block(map_id, partition, size=100):
    return block(f"m{map_id}p{partition}", size)


def map_blocks(map_id, sizes):
    """One block for each partition; size 0 is an empty block."""
    return [map_block(map_id, partition, size) if size else b"" for partition, size in enumerate(sizes)]


def name_blocks(content):
    """The labels of the blocks that these bytes are, as in "m1p0+m1p1"; "damaged" if they are not."""
    if not content:
        return "nothing"
    labels, at = [], 0
    while at < len(content):
        found = re.compile(rb"\[(\w+):(\d+)\]").match(content, at)
        if not found:
            return "damaged"
        label, size = found[1].decode(), int(found[2])
        whole = block(label, size)
        if content[at:at + len(whole)] != whole:
            return "damaged"
        labels.append(label)
        at += len(whole)
    return "+".join(labels)


# ---- Answers in words --------------------------------------------------------------------------------------------------

# Error texts differ between services; their class must not. The first that fits counts.
ERROR_CLASSES = [
    ("unknown type", r"Unknown message type"),
    ("not supported", r"Unexpected message|UnsupportedOperationException|Cannot handle"),
    ("not registered", r"[Ee]xecutor.* not registered|not registered.*[Ee]xecutor"),
    ("no stream", r"since streamId -?\d+ is closed|Stream '.*' was not found|not registered with streamId"),
    ("beyond end", r"beyond end|IndexOutOfBoundsException: -?\d+$|only \d+ partitions|[Nn]o partition"),
    ("order", r"out-of-order chunk"),
    ("bad id", r"Unexpected (shuffle |rdd )?block id format|Expected shuffleId=|Unexpected stream id format|"
               r"For input string|ArrayIndexOutOfBoundsException: Index 1"),
    ("no file", r"NoSuchFileException|FileNotFoundException|ENOENT|No such file|Chunk was not found|not exist"),
]


def error_class(text):
    for name, pattern in ERROR_CLASSES:
        if re.search(pattern, text, re.MULTILINE):
            return name
    return "other"


def describe(answer):
    """An answer in a few words; the error's text is left to its class."""
    if answer == CLOSED:
        return "closed"
    if isinstance(answer, Cut):
        return "cut off"
    if isinstance(answer, ChunkSuccess):
        return f"chunk {answer.index}={name_blocks(answer.body)}"
    if isinstance(answer, ChunkFailure):
        return f"chunk {answer.index} failed: {error_class(answer.error)}"
    if isinstance(answer, StreamResponse):
        return f"stream {stream_index(answer.stream)}={name_blocks(answer.body)}"
    if isinstance(answer, StreamFailure):
        return f"stream failed: {error_class(answer.error)}"
    if isinstance(answer, RpcFailure):
        return f"rpc failed: {error_class(answer.error)}"
    if isinstance(answer, RpcResponse):
        return f"answer of {len(answer.body)} bytes"
    raise AssertionError(answer)


def stream_index(name):
    return name.rpartition("_")[2]


def describe_all(answers):
    return ", ".join(map(describe, answers))


# ---- The conversation --------------------------------------------------------------------------------------------------


class Context:
    """One case's application, connections and executors. A context manager: closes what it has opened."""

    def __init__(self, service):
        self.service = service
        self.app = f"app-20261121-{next(NUMBERS):04d}"
        self.opened = []
        self.errors = []  # texts of the failures seen, for Case.says

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self.opened:
            connection.close()

    def connect(self, **options):
        connection = Watched(self, self.service.address, **options)
        self.opened.append(connection)
        return connection

    def executor(self, name="1", roots=2, sub_dirs=SUB_DIRS, manager=SORT_MANAGER):
        """An executor with new local dirs, registered."""
        executor = Executor(self.service.roots(f"{self.app}-{name}", roots), sub_dirs)
        answer = self.register(executor, name, manager)
        assert isinstance(answer, RpcResponse), f"registration: {answer}"
        return executor

    def register(self, executor, name="1", manager=SORT_MANAGER):
        with Connection(self.service.address) as connection:
            return connection.rpc(register(self.app, name, executor.local_dirs, executor.sub_dirs, manager))


class Watched(Connection):
    """A connection that remembers the errors' texts."""

    def __init__(self, context, address, **options):
        super().__init__(address, **options)
        self.context = context

    def receive(self):
        answer = super().receive()
        if isinstance(answer, (ChunkFailure, StreamFailure, RpcFailure)):
            self.context.errors.append(answer.error)
        return answer


def run_case(one, service):
    """(what was seen, the errors' texts)."""
    with Context(service) as context:
        try:
            seen = one.run(context)
        except (AssertionError, OSError, EOFError) as error:  # a case must not end the list
            seen = f"{type(error).__name__}: {str(error)[:300]}"
        texts = list(context.errors)
        missing = [word for word in one.says if not any(word.format(app=context.app) in text for text in texts)]
    return seen, texts, missing
