"""Files as a Spark executor writes them: where they lie, what they are called, what is in them, how they are committed.

Spark's sources: storage.DiskBlockManager and network.shuffle.ExecutorDiskUtils (places), shuffle.IndexShuffleBlockResolver
(content and commit order).
"""

import os
import struct
import uuid
import zlib

from shuffle_cluster import index_of

SUB_DIRS = 64


def java_hash(text):
    """String.hashCode(), then what Spark makes of it: not negative."""
    value = 0
    units = text.encode("utf-16-be")
    for (unit,) in struct.iter_unpack(">H", units):
        value = (value * 31 + unit) & 0xFFFFFFFF
    signed = value - (1 << 32) if value >= 1 << 31 else value
    return 0 if signed == -(1 << 31) else abs(signed)


def file_path(local_dirs, name, sub_dirs=SUB_DIRS):
    value = java_hash(name)
    sub_dir = value // len(local_dirs) % sub_dirs
    return os.path.join(local_dirs[value % len(local_dirs)], f"{sub_dir:02x}", name)


def numbers(values):
    return struct.pack(f">{len(values)}q", *values)


class Executor:
    """The local directories of one executor, and what it writes there."""

    def __init__(self, roots, sub_dirs=SUB_DIRS):
        self.sub_dirs = sub_dirs
        self.local_dirs = [os.path.join(root, f"blockmgr-{uuid.uuid4()}") for root in roots]
        for directory in self.local_dirs:
            os.makedirs(directory, mode=0o700)

    def path(self, name):
        return file_path(self.local_dirs, name, self.sub_dirs)

    def data_path(self, shuffle, map_id):
        return self.path(f"shuffle_{shuffle}_{map_id}_0.data")

    def write(self, name, content):
        """A file under its last name by way of a temporary one in the same directory."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.{uuid.uuid4()}"
        with open(temporary, "wb") as file:
            file.write(content)
        os.rename(temporary, path)
        return path

    def commit(self, shuffle, map_id, blocks, checksum="ADLER32"):
        """A map output with one block for each partition: the index, then the data, then the checksums."""
        stem = f"shuffle_{shuffle}_{map_id}_0"
        self.write(f"{stem}.index", index_of(map(len, blocks)))
        if any(blocks):  # Spark leaves the file out if there is nothing in it
            self.write(f"{stem}.data", b"".join(blocks))
        if checksum:
            compute = {"ADLER32": zlib.adler32, "CRC32": zlib.crc32}[checksum]
            self.write(f"{stem}.checksum.{checksum}", numbers([compute(block) for block in blocks]))
        return blocks
