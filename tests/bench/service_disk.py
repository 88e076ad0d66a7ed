"""The part of scripts/bench service that measures on an emulated hard disk: many small blocks, cold.

Each block is fetched once, by 4 or by 16 reducers at a time, each all maps'
blocks of one partition. A page of the files stays cached for about a second, as on a node with little memory: a thread drops them.
The kernel counts the reads, after merging.
"""

import os
import sys

from emulated_disk import IOPS, Disk, Forgetting, require_blkio, run

BYTES_PER_SECOND = 150_000_000
SHUFFLE, MAPS, PARTITIONS, BLOCK = 9, 100, 100, 16384
REDUCERS = [4, 16]
REQUEST_BYTES = 48_000_000 // 5  # of spark.reducer.maxSizeInFlight


def load(args, disk, *more):
    return run(f"{args.build}/tests/bench/service_load", "--directory", f"{disk.directory}/blockmgr-bench", "--shuffle", str(SHUFFLE), "--maps",
               str(MAPS), "--partitions", str(PARTITIONS), "--block-bytes", str(BLOCK), *more)


def one_run(args, disk, side, reducers):
    process = side.measured()
    cpu = process.cpu_seconds()
    with Forgetting(disk):
        disk.throttle(True)
        reads, read_bytes = disk.reads()
        out = load(args, disk, "--address", f"127.0.0.1:{side.port}", "--connections", str(reducers), "--request-bytes",
                   str(REQUEST_BYTES), "--once")
        after, after_bytes = disk.reads()
        disk.throttle(False)
    seconds = float(out.split('"seconds": ')[1].split(",", maxsplit=1)[0])
    count = max(1, after - reads)
    return {"seconds": round(seconds, 1), "reads": after - reads, "mean_kb": round((after_bytes - read_bytes) / count / 1024, 1),
            "read_mb": round((after_bytes - read_bytes) / 1e6, 1), "cpu_s": round(process.cpu_seconds() - cpu, 2)}


def measure(args, wanted, sides_of):
    """One run of each number of reducers and service. `sides_of` makes the services, with the disk's directory allowed."""
    require_blkio()
    rows = []
    with Disk(args.directory, bytes_per_second=BYTES_PER_SECOND) as disk:
        print("disk: writing the map outputs ...", file=sys.stderr, flush=True)
        load(args, disk, "--make")
        os.sync()
        with sides_of(args, wanted, disk.directory) as sides:
            for number, reducers in enumerate(REDUCERS):
                for side in sides if number % 2 == 0 else reversed(sides):
                    print(f"  {side.name}, {reducers} reducers ...", file=sys.stderr, flush=True)
                    rows.append({"service": side.name, "reducers": reducers, **one_run(args, disk, side, reducers)})
    return {"iops": IOPS, "mb_s": BYTES_PER_SECOND // 1_000_000, "maps": MAPS, "partitions": PARTITIONS, "block": BLOCK,
            "rows": rows}
