"""Conformance cases: the questions that are not about reading blocks."""

import os
import struct
import zlib

from ess_case import block, case, describe, map_blocks
from ess_client import (BLOCKS_REMOVED, CAUSES, CORRUPTION_CAUSE, FETCH_CHUNKS, FINALIZE_MERGE, HEARTBEAT,
                        MERGED_META_REQUEST, REGISTER_DRIVER, REMOVE_MERGE, UPLOAD_BLOCK, diagnose, fetch_blocks, frame,
                        get_local_dirs, message, one_way, parse_answer, parse_local_dirs, remove_blocks, string)

# ---- GetLocalDirsForExecutors ------------------------------------------------------------------------------------------


@case("local dirs: of two executors, as registered", "right")
def local_dirs(c):
    wanted = {name: c.executor(name).local_dirs for name in ("1", "2")}
    found = parse_local_dirs(c.connect().rpc(get_local_dirs(c.app, ["2", "1"])))
    return "right" if found == wanted else f"{found} for {wanted}"


@case("local dirs: one executor is unknown", "rpc failed: not registered", says=["{app}", "77"])
def local_dirs_unknown(c):
    c.executor("1")
    return describe(c.connect().rpc(get_local_dirs(c.app, ["1", "77"])))


@case("local dirs: of nobody", "{}")
def local_dirs_nobody(c):
    return str(parse_local_dirs(c.connect().rpc(get_local_dirs(c.app, []))))


# ---- RemoveBlocks ------------------------------------------------------------------------------------------------------


def removed(c, *blocks, executor="1"):
    answer = c.connect().rpc(remove_blocks(c.app, executor, blocks))
    return str(parse_answer(answer, BLOCKS_REMOVED, "i")) if hasattr(answer, "body") else describe(answer)


@case("remove: index and data, then again", "2 files removed, then 0; 0 left")
def remove_twice(c):
    executor = c.executor("1")
    executor.commit(3, 7, map_blocks(7, [10, 20]))
    names = ["shuffle_3_7_0.index", "shuffle_3_7_0.data"]
    first, second = removed(c, *names), removed(c, *names)
    left = sum(os.path.exists(executor.path(name)) for name in names)
    return f"{first} files removed, then {second}; {left} left"


@case("remove: what was removed is not served", "1; 1: chunk 0 failed: no file", jvm="1; 1: cut off",
      why="quirk (b): the JVM service still has the index, and promises the bytes")
def remove_and_fetch(c):
    c.executor("1").commit(3, 7, map_blocks(7, [10, 20]))
    connection = c.connect()
    stream, _ = connection.open_stream(fetch_blocks(c.app, "1", 3, [(7, [0])]))
    assert hasattr(connection.chunk(stream, 0), "body")
    count = removed(c, "shuffle_3_7_0.data")
    stream, chunks = connection.open_stream(fetch_blocks(c.app, "1", 3, [(7, [1])]))
    return f"{count}; {chunks}: {describe(connection.chunk(stream, 0))}"


@case("remove: the checksums go with the data", "1 removed, 0 left", jvm="1 removed, 1 left", why="Spark never asks for their removal")
def remove_checksums(c):
    executor = c.executor("1")
    executor.commit(3, 7, map_blocks(7, [10, 20]))
    executor.write("shuffle_3_7_0.checksum.ADLER32", b"sums")
    count = removed(c, "shuffle_3_7_0.data")
    return f"{count} removed, {os.path.exists(executor.path('shuffle_3_7_0.checksum.ADLER32')):d} left"


@case("remove: rdd blocks", "1")
def remove_rdd(c):
    c.executor("1").write("rdd_5_0", block("rdd_5_0", 100))
    return removed(c, "rdd_5_0", "rdd_5_1")


@case("remove: an executor that is not registered", "rpc failed: not registered")
def remove_unregistered(c):
    return removed(c, "shuffle_3_7_0.data")


@case("remove: a name that leads elsewhere", "0, still there", jvm="1, gone",
      why="nobody may remove files that are not blocks")
def remove_elsewhere(c):
    executor = c.executor("1", roots=1)
    victim = os.path.join(os.path.dirname(executor.local_dirs[0]), "victim")
    with open(victim, "w", encoding="utf-8"):
        pass
    name = "../../victim"
    os.makedirs(os.path.dirname(os.path.dirname(os.path.dirname(executor.path(name)))), exist_ok=True)
    for sub_dir in range(64):
        os.makedirs(os.path.join(executor.local_dirs[0], f"{sub_dir:02x}"), exist_ok=True)
    return f"{removed(c, name)}, {'still there' if os.path.exists(victim) else 'gone'}"


# ---- DiagnoseCorruption ------------------------------------------------------------------------------------------------


def cause(c, partition, checksum, algorithm="ADLER32", map_id=7, executor="1"):
    answer = c.connect().rpc(diagnose(c.app, executor, 3, map_id, partition, checksum, algorithm))
    return CAUSES[parse_answer(answer, CORRUPTION_CAUSE, "b")] if hasattr(answer, "body") else describe(answer)


def output(c, checksum="ADLER32"):
    executor = c.executor("1")
    return executor, executor.commit(3, 7, map_blocks(7, [100, 0, 3000]), checksum)


@case("diagnose: what the reader has is right", "CHECKSUM_VERIFY_PASS")
def diagnose_pass(c):
    _, blocks = output(c)
    return cause(c, 2, zlib.adler32(blocks[2]))


@case("diagnose: the same with CRC32", "CHECKSUM_VERIFY_PASS")
def diagnose_crc32(c):
    _, blocks = output(c, "CRC32")
    return cause(c, 2, zlib.crc32(blocks[2]), "CRC32")


@case("diagnose: the reader has other bytes", "NETWORK_ISSUE")
def diagnose_network(c):
    _, blocks = output(c)
    return cause(c, 2, zlib.adler32(blocks[2]) + 1)


@case("diagnose: the file is damaged", "DISK_ISSUE")
def diagnose_disk(c):
    executor, blocks = output(c)
    with open(executor.data_path(3, 7), "r+b") as file:
        file.seek(200)
        file.write(b"damage")
    return cause(c, 2, zlib.adler32(blocks[2]))


@case("diagnose: no checksum file", "UNKNOWN_ISSUE")
def diagnose_no_checksums(c):
    _, blocks = output(c, None)
    return cause(c, 2, zlib.adler32(blocks[2]))


@case("diagnose: no such map output", "UNKNOWN_ISSUE", jvm="rpc failed: no file",
      why="clients make the same of both, and log a stack trace for the failure")
def diagnose_no_map(c):
    output(c)
    return cause(c, 2, 1, map_id=99)


@case("diagnose: no such partition", "UNKNOWN_ISSUE", jvm="rpc failed: beyond end", why="as above")
def diagnose_no_partition(c):
    output(c)
    return cause(c, 44, 1)


@case("diagnose: an algorithm that nobody knows", "UNSUPPORTED_CHECKSUM_ALGORITHM")
def diagnose_unknown_algorithm(c):
    _, blocks = output(c)
    return cause(c, 2, zlib.adler32(blocks[2]), "MD5")


@case("diagnose: an algorithm that nobody knows, with a file of it", "UNSUPPORTED_CHECKSUM_ALGORITHM")
def diagnose_unknown_algorithm_file(c):
    executor, blocks = output(c)
    executor.write("shuffle_3_7_0.checksum.MD5", bytes(24))
    return cause(c, 2, zlib.adler32(blocks[2]), "MD5")


@case("diagnose: an algorithm that leads elsewhere", "UNSUPPORTED_CHECKSUM_ALGORITHM")
def diagnose_path(c):
    _, blocks = output(c)
    return cause(c, 2, zlib.adler32(blocks[2]), "../../../etc/passwd")


@case("diagnose: an executor that is not registered", "UNKNOWN_ISSUE", jvm="rpc failed: other",
      why="as above")
def diagnose_unregistered(c):
    return cause(c, 2, 1, executor="55")


# ---- What is not supported ---------------------------------------------------------------------------------------------


@case("not supported: UploadBlock", "rpc failed: not supported")
def upload_block(c):
    empty = struct.pack(">i", 0)
    return describe(c.connect().rpc(message(UPLOAD_BLOCK, string(c.app), string("1"), string("rdd_0_0"), empty, empty)))


@case("not supported: RegisterDriver", "rpc failed: not supported")
def register_driver(c):
    return describe(c.connect().rpc(message(REGISTER_DRIVER, string(c.app), struct.pack(">q", 1000))))


@case("not supported: ShuffleServiceHeartbeat", "rpc failed: not supported")
def heartbeat(c):
    return describe(c.connect().rpc(message(HEARTBEAT, string(c.app))))


@case("not supported: FinalizeShuffleMerge", "rpc failed: not supported")
def finalize(c):
    return describe(c.connect().rpc(message(FINALIZE_MERGE, string(c.app), struct.pack(">iii", 1, 0, 0))))


@case("not supported: FetchShuffleBlockChunks", "rpc failed: not supported", jvm="1; chunk 0 failed: not supported",
      why="the JVM service notices when the chunk is asked for")
def fetch_chunks(c):
    c.executor("1")
    connection = c.connect()
    answer = connection.rpc(message(FETCH_CHUNKS, string(c.app), string("shuffle-push-merger"),
                                    struct.pack(">ii", 3, 0), struct.pack(">ii", 1, 0), struct.pack(">iii", 1, 1, 0)))
    if not hasattr(answer, "body"):
        return describe(answer)
    stream, count = struct.unpack_from(">qi", answer.body, 1)
    return f"{count}; {describe(connection.chunk(stream, 0))}"


@case("not supported: MergedBlockMetaRequest", "rpc failed: not supported")
def merged_meta(c):
    connection = c.connect()
    connection.send(frame(MERGED_META_REQUEST, struct.pack(">q", 5) + string(c.app) + struct.pack(">iii", 3, 0, 0)))
    return describe(connection.receive())


@case("one way: RemoveShuffleMerge has no answer", "{}")
def remove_merge(c):
    connection = c.connect()
    connection.send(one_way(message(REMOVE_MERGE, string(c.app), struct.pack(">iii", 1, 3, -1))))
    return str(parse_local_dirs(connection.rpc(get_local_dirs(c.app, []))))


# ---- After a crash -----------------------------------------------------------------------------------------------------


@case("restart: registrations survive SIGKILL of the service", "1: chunk 0=m7p1; directories right")
def restart(c):
    executor = c.executor("1")
    executor.commit(3, 7, map_blocks(7, [10, 20]))
    c.service.kill_and_restart()
    connection = c.connect()
    stream, count = connection.open_stream(fetch_blocks(c.app, "1", 3, [(7, [1])]))
    text = f"{count}: {describe(connection.chunk(stream, 0))}"
    found = parse_local_dirs(connection.rpc(get_local_dirs(c.app, ["1"])))
    return f"{text}; directories {'right' if found == {'1': executor.local_dirs} else found}"
