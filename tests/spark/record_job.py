"""A shuffle of records that can be checked. A record says which map task wrote it for which partition, its number there, and the crc32 of
its random bytes. The reduce stage checks each one, and that all have come once. For the Python that has Spark.
"""

import time


def make_records(partitions, block_bytes, record_bytes, seed, begun=None, cheap=False):
    """(a function for mapPartitionsWithIndex, records in a block, their bytes). It runs on the executors, so it brings all it needs.
    `begun` is called with the map task's number before its first record. `cheap`: the records of a map task are pieces, each at its own
    offset, of the same random megabyte. That costs a tenth of the processor time; what compresses over some distance sees it."""
    import random
    import struct
    import zlib
    form = "<IIII"  # map, partition, number, crc32
    head = struct.calcsize(form)
    count = max(1, round(block_bytes / record_bytes))
    size = max(1, block_bytes // count - head)

    def make(map_task, _):
        if begun:
            begun(map_task)
        generator = random.Random(seed * 1000003 + map_task)
        mega = generator.randbytes((1 << 20) + size) if cheap else b""
        for number in range(count):
            for partition in range(partitions):
                at = (number * partitions + partition) * 7919 % (1 << 20)  # a prime
                payload = mega[at:at + size] if cheap else generator.randbytes(size)
                yield partition, struct.pack(form, map_task, partition, number, zlib.crc32(payload)) + payload
    return make, count, size + head


def make_check(maps, count, begun=None):
    """A function for mapPartitionsWithIndex: (records, bytes, wrong ones, missing ones) of the partition. `begun` is called with
    the partition's number after its first record."""
    import struct
    import zlib
    form = "<IIII"
    head = struct.calcsize(form)

    def check(partition, records):
        seen = bytearray(maps * count)
        found = size = wrong = 0
        for key, record in records:
            map_task, its_partition, number, crc = struct.unpack_from(form, record)
            found += 1
            if found == 1 and begun:
                begun(partition)
            size += len(record)
            if (key != partition or its_partition != partition or map_task >= maps or number >= count
                    or zlib.crc32(memoryview(record)[head:]) != crc or seen[map_task * count + number]):
                wrong += 1
            else:
                seen[map_task * count + number] = 1
        yield found, size, wrong, seen.count(0)
    return check


class RecordJob:
    """maps x partitions blocks. The map stage runs by itself, as in adaptive execution, so that something can be done after it."""

    def __init__(self, context, maps, partitions, block_bytes, record_bytes=10000, seed=7, map_begun=None, cheap=False):
        self.context = context
        self.maps = maps
        self.partitions = partitions
        make, self.count, self.record_bytes = make_records(partitions, block_bytes, record_bytes, seed, map_begun, cheap)
        self.records = context.parallelize(range(maps), maps).mapPartitionsWithIndex(make).partitionBy(partitions, lambda key: key)

    def dependency(self):
        rdd = self.records._jrdd.rdd()  # pylint: disable=protected-access
        while True:
            dependency = rdd.dependencies().head()
            if dependency.getClass().getSimpleName() == "ShuffleDependency":
                return dependency
            rdd = dependency.rdd()

    def run_maps(self):
        future = self.context._jsc.sc().submitMapStage(self.dependency())  # pylint: disable=protected-access
        while not future.isCompleted():
            time.sleep(0.02)
        result = future.value().get()
        assert result.isSuccess(), str(result)

    def shuffle(self):
        return self.dependency().shuffleId()

    def check(self, begun=None):
        """The reduce stage. Fails unless every record has come once and whole."""
        answers = self.records.mapPartitionsWithIndex(make_check(self.maps, self.count, begun)).collect()
        found, size, wrong, missing = (sum(column) for column in zip(*answers))
        wanted = self.maps * self.partitions * self.count
        assert (len(answers), found, size, wrong, missing) == (self.partitions, wanted, wanted * self.record_bytes, 0, 0), \
            f"{found} of {wanted} records, {wrong} of them wrong, {missing} missing"
