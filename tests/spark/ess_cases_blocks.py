"""Conformance cases: registration, and everything by which blocks are read."""

import os
import struct

from ess_case import case, describe, describe_all, map_block, map_blocks, block
from ess_client import (SORT_MANAGER, STREAM_HANDLE, chunk_request, fetch_blocks, open_blocks, parse_answer,
                        register, rpc_request, stream_request)
from spark_files import Executor

EXECUTOR = "1"


def two_maps(c, sizes=(100, 0, 300, 50)):
    """An executor with map outputs 7 and 8 of shuffle 3."""
    executor = c.executor(EXECUTOR)
    for map_id in (7, 8):
        executor.commit(3, map_id, map_blocks(map_id, sizes))
    return executor


def fetch(c, wanted, batch=False, connection=None):
    """Opens a stream over blocks of shuffle 3 and asks for all its chunks at once."""
    connection = connection or c.connect()
    stream, count = connection.open_stream(fetch_blocks(c.app, EXECUTOR, 3, wanted, batch))
    return f"{count}: {describe_all(connection.chunks(stream, count))}"


# ---- Registration ------------------------------------------------------------------------------------------------------


@case("register: answered by an empty body", "answer of 0 bytes")
def register_plain(c):
    return describe(c.register(Executor(c.service.roots(c.app, 1))))


@case("register: any shuffle manager's name", "answer of 0 bytes")
def register_custom(c):
    return describe(c.register(Executor(c.service.roots(c.app, 1)), manager="com.example.Manager"))


@case("register: the suffix of push-based shuffle", "answer of 0 bytes")
def register_push_based(c):
    manager = SORT_MANAGER + ':{"mergeDir":"merge_manager","attemptId":"1"}}'
    return describe(c.register(Executor(c.service.roots(c.app, 1)), manager=manager))


@case("register: again with other directories", "2: chunk 0=m7p0, chunk 1=m7p2")
def register_again(c):
    c.executor(EXECUTOR)
    two_maps(c)
    return fetch(c, [(7, [0, 2])])


@case("register: the same twice", "answer of 0 bytes, answer of 0 bytes")
def register_twice(c):
    executor = Executor(c.service.roots(c.app, 1))
    return describe_all([c.register(executor), c.register(executor)])


@case("register: directories outside the mount", "rpc failed: other", jvm="answer of 0 bytes",
      why="the files of this machine are not for everybody who can connect", says=["/etc/blockmgr-1", "spark-allow-dir"])
def register_outside(c):
    return describe(c.connect().rpc(register(c.app, EXECUTOR, ["/etc/blockmgr-1"])))


@case("register: a way out of the mount", "rpc failed: other", jvm="answer of 0 bytes",
      why="the files of this machine are not for everybody who can connect")
def register_dots(c):
    root = c.service.roots(c.app, 1)[0]
    return describe(c.connect().rpc(register(c.app, EXECUTOR, [f"{root}/../../../../../../../../etc"])))


@case("register: a relative directory", "rpc failed: other", jvm="answer of 0 bytes",
      why="it would be relative to the daemon's own directory, which no executor means")
def register_relative(c):
    return describe(c.connect().rpc(register(c.app, EXECUTOR, ["blockmgr-1"])))


# ---- FetchShuffleBlocks ------------------------------------------------------------------------------------------------


@case("fetch: two maps, partitions as asked", "4: chunk 0=m8p2, chunk 1=m8p0, chunk 2=m7p0, chunk 3=m7p3")
def fetch_plain(c):
    two_maps(c)
    return fetch(c, [(8, [2, 0]), (7, [0, 3])])


@case("fetch: one chunk after the other", "chunk 0=m7p0, chunk 1=m7p2, chunk 2=m7p3")
def fetch_slowly(c):
    two_maps(c)
    connection = c.connect()
    stream, count = connection.open_stream(fetch_blocks(c.app, EXECUTOR, 3, [(7, [0, 2, 3])]))
    return describe_all([connection.chunk(stream, index) for index in range(count)])


@case("fetch: batch, with an empty block inside", "2: chunk 0=m7p0+m7p2, chunk 1=m8p2+m8p3")
def fetch_batch(c):
    two_maps(c)
    return fetch(c, [(7, [0, 3]), (8, [1, 4])], batch=True)


@case("fetch: batch of a whole map output", "1: chunk 0=m7p0+m7p2+m7p3")
def fetch_batch_whole(c):
    two_maps(c)
    return fetch(c, [(7, [0, 4])], batch=True)


@case("fetch: a block of 5 MiB", "2: chunk 0=m7p0, chunk 1=m7p1")
def fetch_large(c):
    c.executor(EXECUTOR).commit(3, 7, map_blocks(7, [5 << 20, 10]))
    return fetch(c, [(7, [0, 1])])


@case("fetch: 2000 blocks of one map output", "all 2000 right")
def fetch_many(c):
    blocks = c.executor(EXECUTOR).commit(3, 7, map_blocks(7, [64] * 2000))
    connection = c.connect()
    stream, count = connection.open_stream(fetch_blocks(c.app, EXECUTOR, 3, [(7, list(range(2000)))]))
    right = [answer.body for answer in connection.chunks(stream, count)] == blocks
    return f"all {count} right" if right else "wrong"


@case("fetch: the largest map id", f"1: chunk 0=m{2**62}p1")
def fetch_large_id(c):
    c.executor(EXECUTOR).commit(3, 2**62, map_blocks(2**62, [10, 20]))
    return fetch(c, [(2**62, [1])])


@case("fetch: 4 local dirs with 7 sub-directories", "2: chunk 0=m7p0, chunk 1=m7p1")
def fetch_odd_dirs(c):
    c.executor(EXECUTOR, roots=4, sub_dirs=7).commit(3, 7, map_blocks(7, [10, 20]))
    return fetch(c, [(7, [0, 1])])


@case("fetch: two applications with the same ids", "1: chunk 0=m1p0 / 1: chunk 0=m2p0")
def fetch_two_applications(c):
    first = c.app
    c.executor(EXECUTOR).commit(3, 7, [map_block(1, 0)])
    c.app += "b"
    c.executor(EXECUTOR).commit(3, 7, [map_block(2, 0)])
    second, c.app = c.app, first
    one = fetch(c, [(7, [0])])
    c.app = second
    return f"{one} / {fetch(c, [(7, [0])])}"


@case("fetch: an executor that is not registered", "1: chunk 0 failed: not registered", says=["{app}", "1"])
def fetch_unregistered(c):
    return fetch(c, [(7, [0])])


@case("fetch: a map output that is not there", "1: chunk 0 failed: no file", says=["{app}", "99"])
def fetch_missing_map(c):
    two_maps(c)
    return fetch(c, [(99, [0])])


@case("fetch: the data file is gone", "1: chunk 0 failed: no file", jvm="1: cut off", says=["{app}", "shuffle_3_7_0.data"],
      why="the JVM service promises the bytes before it opens the file; the client asks again, three times")
def fetch_missing_data(c):
    os.unlink(two_maps(c).data_path(3, 7))
    return fetch(c, [(7, [0])])


@case("fetch: the data file is short", "1: chunk 0 failed: other", jvm="1: cut off",
      why="the length is sent before the bytes: we look first, so that the connection's other chunks live")
def fetch_short_data(c):
    os.truncate(two_maps(c).data_path(3, 7), 10)
    return fetch(c, [(7, [2])])


@case("fetch: partition beyond the index", "1: chunk 0 failed: beyond end", says=["{app}", "44"])
def fetch_missing_partition(c):
    two_maps(c)
    return fetch(c, [(7, [44])])


@case("fetch: negative partition", "1: chunk 0 failed: beyond end")
def fetch_negative_partition(c):
    two_maps(c)
    return fetch(c, [(7, [-1])])


@case("fetch: batch whose end is beyond the index", "1: chunk 0 failed: beyond end")
def fetch_batch_beyond(c):
    two_maps(c)
    return fetch(c, [(7, [2, 9])], batch=True)


@case("fetch: an empty block", "1: chunk 0 failed: other", jvm="1: chunk 0=nothing",
      why="a client takes an empty chunk for a failure, and learns no reason")
def fetch_empty_block(c):
    two_maps(c)
    return fetch(c, [(7, [1])])


@case("fetch: a good block after a failing one", "2: chunk 0 failed: no file, chunk 1=m8p0",
      jvm="2: chunk 0 failed: no file, chunk 1 failed: no file",
      why="quirk (a): the JVM service works on the failed block again; we go by the chunk's number")
def fetch_after_failure(c):
    two_maps(c)
    return fetch(c, [(99, [0]), (8, [0])])


@case("fetch: no maps at all", "0: ")
def fetch_nothing(c):
    two_maps(c)
    return fetch(c, [])


@case("fetch: two maps with one list of partitions", "rpc failed: other", jvm="answer of 13 bytes",
      why="the JVM service notices when the chunk is asked for")
def fetch_unequal(c):
    two_maps(c)
    body = fetch_blocks(c.app, EXECUTOR, 3, [(7, [0]), (8, [0])])
    # Two map ids, and one list of partitions.
    one_list = struct.pack(">i", 1) + struct.pack(">ii", 1, 0) + b"\0"
    cut = len(body) - len(struct.pack(">i", 2)) - 2 * len(struct.pack(">ii", 1, 0)) - 1
    return describe(c.connect().rpc(body[:cut] + one_list))


@case("fetch: batch with three numbers for a range", "rpc failed: other", jvm="answer of 13 bytes",
      why="as above")
def fetch_bad_range(c):
    two_maps(c)
    return describe(c.connect().rpc(fetch_blocks(c.app, EXECUTOR, 3, [(7, [0, 1, 2])], batch=True)))


# ---- OpenBlocks --------------------------------------------------------------------------------------------------------


def open_and_read(c, blocks):
    connection = c.connect()
    answer = connection.rpc(open_blocks(c.app, EXECUTOR, blocks))
    if not hasattr(answer, "body"):
        return describe(answer)
    stream, count = parse_answer(answer, STREAM_HANDLE, "q", "i")
    return f"{count}: {describe_all(connection.chunks(stream, count))}"


@case("open: shuffle blocks", "2: chunk 0=m8p2, chunk 1=m7p0")
def open_shuffle(c):
    two_maps(c)
    return open_and_read(c, ["shuffle_3_8_2", "shuffle_3_7_0"])


@case("open: rdd blocks", "2: chunk 0=rdd_5_1, chunk 1=rdd_5_0")
def open_rdd(c):
    executor = c.executor(EXECUTOR)
    for partition in (0, 1):
        executor.write(f"rdd_5_{partition}", block(f"rdd_5_{partition}", 5000))
    return open_and_read(c, ["rdd_5_1", "rdd_5_0"])


@case("open: an rdd block that is not there", "1: chunk 0 failed: no file", says=["{app}", "rdd_5_9"])
def open_missing_rdd(c):
    c.executor(EXECUTOR)
    return open_and_read(c, ["rdd_5_9"])


@case("open: blocks of two shuffles", "rpc failed: bad id")
def open_two_shuffles(c):
    two_maps(c)
    return open_and_read(c, ["shuffle_3_8_2", "shuffle_4_7_0"])


@case("open: blocks of two kinds", "rpc failed: bad id")
def open_two_kinds(c):
    two_maps(c)
    return open_and_read(c, ["shuffle_3_8_2", "rdd_5_0"])


@case("open: ids that are none", "rpc failed: bad id / rpc failed: bad id / rpc failed: bad id / rpc failed: bad id")
def open_bad_ids(c):
    two_maps(c)
    return " / ".join(open_and_read(c, [name])
                      for name in ("broadcast_3", "shuffle_3_8", "shuffle_a_b_c", "rdd_1_../../x"))


@case("open: no ids", "rpc failed: other")
def open_nothing(c):
    two_maps(c)
    return open_and_read(c, [])


@case("open: an executor that is not registered", "1: chunk 0 failed: not registered")
def open_unregistered(c):
    return open_and_read(c, ["shuffle_3_8_2"])


# ---- Streams -----------------------------------------------------------------------------------------------------------


@case("stream: blocks as streams, answered in order", "stream 0=m7p0, stream 1=m7p2, stream 2=m8p0, stream 3=m8p3")
def stream_in_order(c):
    two_maps(c)
    connection = c.connect()
    stream, count = connection.open_stream(fetch_blocks(c.app, EXECUTOR, 3, [(7, [0, 2]), (8, [0, 3])]))
    connection.send(*(stream_request(stream, index) for index in range(count)))
    return describe_all([connection.receive() for _ in range(count)])


@case("stream: a failure keeps its place", "stream 0=m7p0, stream failed: no file, stream 2=m8p0",
      jvm="stream 0=m7p0, stream failed: no file, stream failed: no file", why="quirk (a) again")
def stream_failure_in_order(c):
    two_maps(c)
    connection = c.connect()
    stream, count = connection.open_stream(fetch_blocks(c.app, EXECUTOR, 3, [(7, [0]), (99, [0]), (8, [0])]))
    connection.send(*(stream_request(stream, index) for index in range(count)))
    return describe_all([connection.receive() for _ in range(count)])


@case("stream: large ones with chunks and questions between", "streams in order, all 24 right")
def stream_mixture(c):
    executor = c.executor(EXECUTOR)
    executor.commit(3, 7, map_blocks(7, [1 << 20] * 8))
    connection = c.connect()
    streamed, count = connection.open_stream(fetch_blocks(c.app, EXECUTOR, 3, [(7, list(range(8)))]))
    chunked, _ = connection.open_stream(fetch_blocks(c.app, EXECUTOR, 3, [(7, list(range(8)))]))
    for index in range(count):
        connection.send(stream_request(streamed, index), chunk_request(chunked, index),
                        rpc_request(1000 + index, fetch_blocks(c.app, EXECUTOR, 3, [(7, [index])])))
    answers = [connection.receive() for _ in range(3 * count)]
    words = [describe(answer) for answer in answers]
    streams = [word for word in words if word.startswith("stream")]
    order = "in order" if streams == [f"stream {i}=m7p{i}" for i in range(8)] else f"out of order: {streams}"
    expected = sorted([f"stream {i}=m7p{i}" for i in range(8)] + [f"chunk {i}=m7p{i}" for i in range(8)] +
                      ["answer of 13 bytes"] * 8)
    return f"streams {order}, " + (f"all {len(answers)} right" if sorted(words) == expected else f"not: {words}")


@case("stream: unknown", "stream failed: no stream")
def stream_unknown(c):
    return describe(c.connect().stream(123456789, 0))


@case("stream: ids that are none", "stream failed: bad id, stream failed: bad id, stream failed: bad id")
def stream_bad_ids(c):
    connection = c.connect()
    return describe_all([connection.stream(name) for name in ("abc", "12", "1_x")])


# ---- Chunks out of place -----------------------------------------------------------------------------------------------


def small_stream(c, connection):
    two_maps(c)
    return connection.open_stream(fetch_blocks(c.app, EXECUTOR, 3, [(7, [0, 2, 3])]))[0]


@case("chunk: unknown stream", "chunk 0 failed: no stream")
def chunk_unknown(c):
    return describe(c.connect().chunk(42, 0))


@case("chunk: after the last one", "chunk 0=m7p0, chunk 1=m7p2, chunk 2=m7p3, chunk 2 failed: no stream")
def chunk_after_last(c):
    connection = c.connect()
    stream = small_stream(c, connection)
    return describe_all([connection.chunk(stream, index) for index in (0, 1, 2, 2)])


@case("chunk: beyond the end", "chunk 3 failed: beyond end", jvm="chunk 3 failed: order",
      why="the number is the mistake, not the order")
def chunk_beyond(c):
    connection = c.connect()
    return describe(connection.chunk(small_stream(c, connection), 3))


@case("chunk: negative", "chunk -1 failed: beyond end", jvm="chunk -1 failed: order",
      why="the number is the mistake, not the order")
def chunk_negative(c):
    connection = c.connect()
    return describe(connection.chunk(small_stream(c, connection), -1))


@case("chunk: out of order", "chunk 2=m7p3, chunk 0=m7p0, chunk 1=m7p2",
      jvm="chunk 2 failed: order, chunk 0=m7p0, chunk 1=m7p2", why="chunks are addressed by their number")
def chunk_out_of_order(c):
    connection = c.connect()
    stream = small_stream(c, connection)
    return describe_all([connection.chunk(stream, index) for index in (2, 0, 1)])


@case("chunk: of another connection's stream", "chunk 0 failed: no stream", jvm="chunk 0=m7p0",
      why="a stream belongs to the connection that opened it, and ends with it")
def chunk_of_another(c):
    stream = small_stream(c, c.connect())
    return describe(c.connect().chunk(stream, 0))
