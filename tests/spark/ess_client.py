"""A client of Spark's External Shuffle Service that says exactly what it is told, also what no Spark would say.

One Connection is one TCP connection. Requests are sent by `send` (frames) or `send_bytes` (anything); answers are read
one at a time, in the order in which they come, as the tuples below. Waiting in vain is an error (TimeoutError), the
service's end of the connection is the answer CLOSED. No threads. The bytes are those of Spark 3.4 to 4.0
(org.apache.spark.network.protocol, org.apache.spark.network.shuffle.protocol); all numbers are big-endian.
"""

import collections
import socket
import struct

PATIENCE = 20  # seconds that an answer may take

# ---- Frames -----------------------------------------------------------------------------------------------------------

CHUNK_REQUEST, CHUNK_SUCCESS, CHUNK_FAILURE = 0, 1, 2
RPC_REQUEST, RPC_RESPONSE, RPC_FAILURE = 3, 4, 5
STREAM_REQUEST, STREAM_RESPONSE, STREAM_FAILURE = 6, 7, 8
ONE_WAY, UPLOAD_STREAM, MERGED_META_REQUEST = 9, 10, 11

ChunkSuccess = collections.namedtuple("ChunkSuccess", "stream index body")
ChunkFailure = collections.namedtuple("ChunkFailure", "stream index error")
RpcResponse = collections.namedtuple("RpcResponse", "request body")
RpcFailure = collections.namedtuple("RpcFailure", "request error")
StreamResponse = collections.namedtuple("StreamResponse", "stream body")
StreamFailure = collections.namedtuple("StreamFailure", "stream error")
Closed = collections.namedtuple("Closed", "")
CLOSED = Closed()
Cut = collections.namedtuple("Cut", "got expected")  # closed in the middle of an answer


def string(text):
    content = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">i", len(content)) + content


def strings(texts):
    return struct.pack(">i", len(texts)) + b"".join(map(string, texts))


def integers(values):
    return struct.pack(f">i{len(values)}i", len(values), *values)


def longs(values):
    return struct.pack(f">i{len(values)}q", len(values), *values)


def frame(kind, header, length=None):
    """A frame; `length` replaces the right length, which counts itself."""
    return struct.pack(">qb", 9 + len(header) if length is None else length, kind) + header


def chunk_request(stream, index):
    return frame(CHUNK_REQUEST, struct.pack(">qi", stream, index))


def stream_request(stream, index=None):
    name = stream if index is None else f"{stream}_{index}"
    return frame(STREAM_REQUEST, string(name))


def rpc_request(request, body):
    return frame(RPC_REQUEST, struct.pack(">qi", request, len(body)) + body)


def one_way(body):
    return frame(ONE_WAY, struct.pack(">i", len(body)) + body)


# ---- RPC bodies --------------------------------------------------------------------------------------------------------

OPEN_BLOCKS, UPLOAD_BLOCK, REGISTER, STREAM_HANDLE, REGISTER_DRIVER, HEARTBEAT = 0, 1, 2, 3, 4, 5
REMOVE_BLOCKS, BLOCKS_REMOVED, FETCH_BLOCKS, GET_LOCAL_DIRS, LOCAL_DIRS = 7, 8, 9, 10, 11
FINALIZE_MERGE, FETCH_CHUNKS, DIAGNOSE, CORRUPTION_CAUSE, REMOVE_MERGE = 13, 15, 16, 17, 19
SORT_MANAGER = "org.apache.spark.shuffle.sort.SortShuffleManager"
CAUSES = ("DISK_ISSUE", "NETWORK_ISSUE", "UNKNOWN_ISSUE", "CHECKSUM_VERIFY_PASS", "UNSUPPORTED_CHECKSUM_ALGORITHM")


def message(kind, *fields):
    return struct.pack(">b", kind) + b"".join(fields)


def register(app, executor, local_dirs, sub_dirs=64, manager=SORT_MANAGER):
    return message(REGISTER, string(app), string(executor), strings(local_dirs), struct.pack(">i", sub_dirs),
                   string(manager))


def open_blocks(app, executor, blocks):
    return message(OPEN_BLOCKS, string(app), string(executor), strings(blocks))


def fetch_blocks(app, executor, shuffle, partitions_by_map, batch=False):
    """`partitions_by_map`: [(map id, [partitions])]; with `batch` the partitions are [begin, end]."""
    lists = struct.pack(">i", len(partitions_by_map)) + b"".join(integers(p) for _, p in partitions_by_map)
    return message(FETCH_BLOCKS, string(app), string(executor), struct.pack(">i", shuffle),
                   longs([map_id for map_id, _ in partitions_by_map]), lists, struct.pack(">b", batch))


def get_local_dirs(app, executors):
    return message(GET_LOCAL_DIRS, string(app), strings(executors))


def remove_blocks(app, executor, blocks):
    return message(REMOVE_BLOCKS, string(app), string(executor), strings(blocks))


def diagnose(app, executor, shuffle, map_id, partition, checksum, algorithm="ADLER32"):
    return message(DIAGNOSE, string(app), string(executor),
                   struct.pack(">iqiq", shuffle, map_id, partition, checksum), string(algorithm))


class Reader:
    """Takes an answer's fields apart; `end` fails if there is more or less than was read."""

    def __init__(self, body):
        self.body = body
        self.at = 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.body, self.at)
        self.at += struct.calcsize(">" + form)
        return values if len(values) > 1 else values[0]

    def string(self):
        length = self.take("i")
        content = self.body[self.at:self.at + length]
        assert len(content) == length, f"a string of {length} bytes is cut"
        self.at += length
        return content.decode()

    def list(self, read):
        return [read() for _ in range(self.take("i"))]

    def rest(self):
        return self.body[self.at:]

    def end(self):
        assert self.at == len(self.body), f"{len(self.body) - self.at} bytes too many: {self.body!r}"


def parse_answer(answer, kind, *forms):
    """The fields of an RpcResponse of this kind; each form is a struct format."""
    assert isinstance(answer, RpcResponse), f"an answer was expected, not {answer}"
    reader = Reader(answer.body)
    got = reader.take("b")
    assert got == kind, f"message {kind} was expected, not {got}"
    values = [reader.take(form) for form in forms]
    reader.end()
    return values[0] if len(values) == 1 else tuple(values)


def parse_local_dirs(answer):
    """{executor: [directories]} of a LocalDirsForExecutors."""
    assert isinstance(answer, RpcResponse), f"an answer was expected, not {answer}"
    reader = Reader(answer.body)
    assert reader.take("b") == LOCAL_DIRS
    executors = reader.list(reader.string)
    counts = reader.list(lambda: reader.take("i"))
    directories = reader.list(reader.string)
    reader.end()
    assert len(counts) == len(executors) and sum(counts) == len(directories), answer
    found, at = {}, 0
    for executor, count in zip(executors, counts):
        found[executor] = directories[at:at + count]
        at += count
    return found


class Incomplete(Exception):
    """The connection has ended."""

    def __init__(self, got, expected):
        super().__init__(f"the connection ended after {got} of {expected} bytes")
        self.got = got
        self.expected = expected


# ---- The connection ----------------------------------------------------------------------------------------------------


class Connection:
    """One connection; a context manager. Not for several threads."""

    def __init__(self, address, patience=PATIENCE, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.settimeout(patience)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb", buffering=1 << 16)
        self.last_request = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.input.close()
        self.socket.close()

    def send_bytes(self, content):
        self.socket.sendall(content)

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def send(self, *frames):
        self.send_bytes(b"".join(frames))

    def next_request(self):
        self.last_request += 1
        return self.last_request << 33 | 0x7F  # more than 32 bits, as Spark's are

    def receive(self):
        """The next answer, or CLOSED, or a Cut."""
        try:
            return self._receive()
        except ConnectionError:
            return CLOSED
        except Incomplete as cut:
            return Cut(cut.got, cut.expected) if cut.got or cut.expected != 9 else CLOSED

    def _receive(self):
        head = self._read(9)
        length, kind = struct.unpack(">qb", head)
        assert 9 <= length < 2**31 + 8, f"a frame of {length} bytes"
        reader = Reader(self._read(length - 9))
        if kind in (CHUNK_SUCCESS, CHUNK_FAILURE):
            stream, index = reader.take("qi")
            answer = (ChunkSuccess(stream, index, reader.rest()) if kind == CHUNK_SUCCESS else
                      ChunkFailure(stream, index, self._last_string(reader)))
        elif kind == RPC_RESPONSE:
            request, size = reader.take("qi")
            assert size == len(reader.rest()), f"the answer says {size} bytes and has {len(reader.rest())}"
            answer = RpcResponse(request, reader.rest())
        elif kind == RPC_FAILURE:
            answer = RpcFailure(reader.take("q"), self._last_string(reader))
        elif kind == STREAM_RESPONSE:
            stream, size = reader.string(), reader.take("q")
            reader.end()
            answer = StreamResponse(stream, self._read(size))
        elif kind == STREAM_FAILURE:
            answer = StreamFailure(reader.string(), self._last_string(reader))
        else:
            raise AssertionError(f"an answer of type {kind}, {length} bytes")
        return answer

    @staticmethod
    def _last_string(reader):
        text = reader.string()
        reader.end()
        return text

    def _read(self, size):
        content = self.input.read(size)
        if len(content) < size:
            raise Incomplete(len(content), size)
        return content

    # ---- One question, one answer

    def rpc(self, body):
        request = self.next_request()
        self.send(rpc_request(request, body))
        answer = self.receive()
        assert not hasattr(answer, "request") or answer.request == request, f"{answer} is no answer to {request}"
        return answer

    def open_stream(self, body):
        """(stream id, number of chunks) of OpenBlocks and FetchShuffleBlocks."""
        return parse_answer(self.rpc(body), STREAM_HANDLE, "q", "i")

    def chunk(self, stream, index):
        self.send(chunk_request(stream, index))
        return self.receive()

    def chunks(self, stream, count):
        """All of them, asked at once as Spark does; the answers in order of their index."""
        self.send(*(chunk_request(stream, index) for index in range(count)))
        answers = [self.receive() for _ in range(count)]
        if not all(isinstance(answer, (ChunkSuccess, ChunkFailure)) for answer in answers):
            return answers  # the connection was closed
        assert all(answer.stream == stream for answer in answers), answers
        return sorted(answers, key=lambda answer: answer.index)

    def stream(self, stream, index=None):
        self.send(stream_request(stream, index))
        return self.receive()
