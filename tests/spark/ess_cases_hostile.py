"""Conformance cases: bytes that no Spark sends. Whatever comes, the service answers or closes, and goes on."""

import struct

from ess_case import case, describe, describe_all, map_blocks
from ess_client import (CHUNK_SUCCESS, CLOSED, REGISTER, RPC_REQUEST, chunk_request, fetch_blocks, frame, get_local_dirs,
                        message, one_way, parse_local_dirs, register, rpc_request, stream_request, string)


def alive(c, connection=None):
    """Whether a question is still answered, on this connection or on a new one."""
    connection = connection or c.connect()
    return "alive" if parse_local_dirs(connection.rpc(get_local_dirs(c.app, []))) == {} else "confused"


def after(c, content):
    """What comes back for some bytes, and whether the service lives."""
    connection = c.connect()
    try:
        connection.send_bytes(content)
        seen = describe(connection.receive())
    except ConnectionError:
        seen = "closed"
    return f"{seen}; {alive(c)}"


# ---- Frames ------------------------------------------------------------------------------------------------------------


@case("frame: unknown type", "closed; alive")
def unknown_frame(c):
    return after(c, frame(99, b"x" * 100))


@case("frame: type User, which is never sent", "closed; alive")
def user_frame(c):
    return after(c, frame(-1, b"x" * 100))


@case("frame: lengths that cannot be",
      "closed; alive | closed; alive | closed; alive | closed; alive | closed; alive | closed; alive")
def impossible_lengths(c):
    return " | ".join(after(c, frame(RPC_REQUEST, b"", length))
                      for length in (0, -1, 8, 2**31 + 8, 2**62, -2**63))


@case("frame: a request to hold 2 GB, and silence", "alive")
def promised_frame(c):
    connection = c.connect()
    connection.send_bytes(frame(RPC_REQUEST, struct.pack(">qi", 1, 2**31 - 40), 2**31 - 10))
    return alive(c)


@case("frame: cut, then closed", "alive")
def cut_frame(c):
    whole = rpc_request(1, get_local_dirs(c.app, ["1"]))
    for length in range(1, len(whole)):
        connection = c.connect()
        connection.send_bytes(whole[:length])
        connection.close()
    return alive(c)


@case("frame: byte by byte", "answer of 13 bytes")
def byte_by_byte(c):
    connection = c.connect()
    for byte in rpc_request(1, get_local_dirs(c.app, [])):
        connection.send_bytes(bytes([byte]))
    return describe(connection.receive())


@case("frame: a header that is too short for its type", "closed; alive | closed; alive | closed; alive")
def short_headers(c):
    return " | ".join(after(c, frame(kind, b"\0\0\0")) for kind in (0, RPC_REQUEST, 6))


@case("frame: the body's length is ignored", "answer of 13 bytes")
def wrong_body_length(c):
    body = get_local_dirs(c.app, [])
    connection = c.connect()
    connection.send(frame(RPC_REQUEST, struct.pack(">qi", 1, 12345) + body))
    return describe(connection.receive())


@case("frame: an answer from a client", "closed; alive", jvm="alive",
      why="the JVM service drops it; whoever sends one is no client")
def answer_from_client(c):
    connection = c.connect()
    connection.send(frame(CHUNK_SUCCESS, struct.pack(">qi", 1, 0) + b"data"),
                    rpc_request(1, get_local_dirs(c.app, [])))
    answer = connection.receive()
    return f"closed; {alive(c)}" if answer == CLOSED else alive(c, connection)


@case("frame: TLS", "closed; alive")
def tls(c):
    return after(c, bytes.fromhex("1603010200010001fc0303") + bytes(200))


@case("frame: HTTP", "closed; alive")
def http(c):
    return after(c, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")


# ---- RPC bodies --------------------------------------------------------------------------------------------------------


@case("rpc: an unknown type", "rpc failed: unknown type; alive")
def unknown_rpc(c):
    connection = c.connect()
    return f"{describe(connection.rpc(message(99)))}; {alive(c, connection)}"


@case("rpc: SASL where it is off", "rpc failed: unknown type; alive", says=["Unknown message type: -22"])
def sasl(c):
    connection = c.connect()
    body = b"\xea" + string(c.app) + struct.pack(">i", 0)
    return f"{describe(connection.rpc(body))}; {alive(c, connection)}"


@case("rpc: AuthEngine where it is off", "rpc failed: unknown type; alive", says=["Unknown message type: -5"])
def auth_engine(c):
    connection = c.connect()
    body = b"\xfb" + string(c.app) + string(b"s" * 16) + string(b"c" * 60)
    return f"{describe(connection.rpc(body))}; {alive(c, connection)}"


@case("rpc: an empty body", "rpc failed: other; alive")
def empty_rpc(c):
    connection = c.connect()
    return f"{describe(connection.rpc(b''))}; {alive(c, connection)}"


@case("rpc: cut anywhere", "all refused; alive")
def cut_rpc(c):
    connection = c.connect()
    body = register(c.app, "1", ["/a", "/b"])
    wrong = [length for length in range(1, len(body))
             if not describe(connection.rpc(body[:length])).startswith("rpc failed")]
    return f"{'all refused' if not wrong else f'taken: {wrong}'}; {alive(c, connection)}"


def hostile_count(c, count):
    """RegisterExecutor with a count of local dirs that is not so."""
    connection = c.connect()
    body = message(REGISTER, string(c.app), string("1"), struct.pack(">i", count), b"x" * 8)
    answer = connection.rpc(body)
    return f"{describe(answer)}; {alive(c, None if answer == CLOSED else connection)}"


@case("rpc: negative count", "rpc failed: other; alive")
def negative_count(c):
    return hostile_count(c, -1)


@case("rpc: a count of two thousand million", "rpc failed: other; alive", jvm="closed; alive",
      why="the JVM service tries to make an array of that size; we look at what is there first")
def huge_count(c):
    return hostile_count(c, 2**31 - 1)


@case("rpc: a string of two thousand million bytes", "rpc failed: other; alive", jvm="closed; alive",
      why="as above")
def huge_string(c):
    connection = c.connect()
    answer = connection.rpc(message(REGISTER, struct.pack(">i", 2**31 - 1), b"app"))
    return f"{describe(answer)}; {alive(c, None if answer == CLOSED else connection)}"


@case("rpc: bytes after the end", "answer of 13 bytes")
def trailing_bytes(c):
    return describe(c.connect().rpc(get_local_dirs(c.app, []) + b"and more"))


@case("one way: rubbish", "alive")
def one_way_rubbish(c):
    connection = c.connect()
    connection.send(one_way(b"\x63rubbish"))
    return alive(c, connection)


# ---- Many at once ------------------------------------------------------------------------------------------------------


@case("pipelined: 500 questions in one write", "500 answers, each to one question")
def pipelined(c):
    connection = c.connect()
    connection.send(*(rpc_request(number, get_local_dirs(c.app, [])) for number in range(500)))
    found = {connection.receive().request for _ in range(500)}
    return f"{len(found)} answers, each to one question" if found == set(range(500)) else f"{sorted(found)}"


@case("pipelined: the client stops sending, the answers still come", "chunk 0=m7p0, chunk 1=m7p1, then closed")
def half_closed(c):
    c.executor("1").commit(3, 7, map_blocks(7, [1000, 2000]))
    connection = c.connect()
    stream, count = connection.open_stream(fetch_blocks(c.app, "1", 3, [(7, [0, 1])]))
    connection.send(*(chunk_request(stream, index) for index in range(count)))
    connection.half_close()
    answers = [connection.receive()]
    while answers[-1] != CLOSED:
        answers.append(connection.receive())
    return describe_all(answers[:-1]) + ", then closed" if len(answers) > 1 else "closed"


@case("slow client: another one is served meanwhile", "4: chunk 0=m7p0, chunk 1=m7p1, chunk 2=m7p2, chunk 3=m7p3")
def slow_client(c):
    c.executor("1").commit(3, 7, map_blocks(7, [4 << 20] * 4))
    asked = fetch_blocks(c.app, "1", 3, [(7, [0, 1, 2, 3])])
    slow = c.connect(receive_buffer=4096)
    stream, count = slow.open_stream(asked)
    slow.send(*(chunk_request(stream, index) for index in range(count)))  # and reads nothing
    quick = c.connect()
    stream, count = quick.open_stream(asked)
    return f"{count}: {describe_all(quick.chunks(stream, count))}"


@case("a client that goes in the middle of an answer", "alive")
def leaving_client(c):
    c.executor("1").commit(3, 7, map_blocks(7, [4 << 20] * 4))
    for _ in range(5):
        connection = c.connect(receive_buffer=4096)
        stream, count = connection.open_stream(fetch_blocks(c.app, "1", 3, [(7, [0, 1, 2, 3])]))
        connection.send(*(chunk_request(stream, index) for index in range(count)), stream_request(stream, 0))
        connection.receive()
        connection.close()
    return alive(c)
