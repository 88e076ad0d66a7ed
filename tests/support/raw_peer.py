"""Frames of the protocol between nodes (docs/wire.md), made by hand: for peers that behave as no daemon does."""

import os
import socket
import struct

VERSION = 4
HELLO, PUSH, LIST_SHUFFLES, READ_MERGED = 2, 16, 24, 28


def _table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def pack(value):
    """msgpack, as far as the protocol uses it."""
    if isinstance(value, int):
        return bytes([value]) if value < 128 else b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        return b"\xd9" + bytes([len(value)]) + value.encode()
    if isinstance(value, bytes):
        return b"\xc4" + bytes([len(value)]) + value
    return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(pack, value))


def frame_head(kind, fields, payload_length=0, payload_crc=0):
    """A frame up to its payload."""
    header = pack(fields)
    prefix = b"SFS1" + struct.pack("<HHIIQI", kind, 0, len(header), crc32c(header), payload_length, payload_crc)
    return prefix + struct.pack("<I", crc32c(prefix)) + header


def hello(name):
    """Of somebody who only asks: with a port of its own it would be a member."""
    return frame_head(HELLO, [VERSION, 0, name, 4711, "", os.urandom(32), "", 0, 0])


def push_head(name, app, payload_length):
    """A push of one block that is as long as its payload; the checksums are wrong."""
    return frame_head(PUSH, [app, 0, name, 0, 0, [0, 0], [[1, 1, [[0, 0, payload_length]]]]], payload_length)


def connect(node, name="stranger", receive_buffer=None):
    """A connection to a node of a Cluster on which the hellos have been exchanged."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(60)
    connection.connect((node["address"], node["peer_port"]))
    connection.sendall(hello(name))
    prefix = connection.recv(32, socket.MSG_WAITALL)
    kind, _, header_length = struct.unpack_from("<HHI", prefix, 4)
    header = connection.recv(header_length, socket.MSG_WAITALL)
    if kind != HELLO + 1:
        raise ConnectionError(f"no hello in return, but a frame of type {kind}: {header!r}")
    return connection
