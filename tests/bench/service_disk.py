"""The part of scripts/bench service that measures on an emulated hard disk: many small blocks, cold.

A loop device with direct I/O, held to a disk's seeks and rate by cgroup v1's blkio throttling in the root group (there it
counts what anybody reads from that device). Each block is fetched once, by 4 or by 16 reducers at a time, each all maps'
blocks of one partition. A page of the files stays cached for about a second, as on a node with little memory: a thread drops them.
The kernel counts the reads, after merging.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading

BLKIO = "/sys/fs/cgroup/blkio/blkio.throttle.{}_device"
IOPS, BYTES_PER_SECOND = 150, 150_000_000
READ_AHEAD_KB = 1024  # the throttle counts requests before they are merged: 128 would make a sequential reader slow
IMAGE_BYTES = 1 << 30
SHUFFLE, MAPS, PARTITIONS, BLOCK = 9, 100, 100, 16384
REDUCERS = [4, 16]
REQUEST_BYTES = 48_000_000 // 5  # of spark.reducer.maxSizeInFlight
CACHE_SECONDS = 1.0


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def put(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


class Disk:
    """The emulated disk, mounted at `directory`, for the time of a with statement."""

    def __init__(self, base):
        self.base = tempfile.mkdtemp(prefix="shufflefs-disk-", dir=base)
        self.directory = f"{self.base}/mounted"
        self.loop = self.device = None

    def __enter__(self):
        os.mkdir(self.directory)
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self):
        image = f"{self.base}/image"
        with open(image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        self.loop = run("losetup", "-f", "--show", "--direct-io=on", image)
        if shutil.which("mkfs.xfs"):
            run("mkfs.xfs", "-q", "-f", "-K", self.loop)
        else:
            run("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-m0", self.loop)
        run("mount", "-o", "noatime", self.loop, self.directory)
        queue = f"/sys/block/{os.path.basename(self.loop)}/queue"
        put(f"{queue}/rotational", "1")  # resets the read-ahead, which comes after it
        put(f"{queue}/read_ahead_kb", str(READ_AHEAD_KB))
        with open(f"/sys/block/{os.path.basename(self.loop)}/dev", encoding="ascii") as device:
            self.device = device.read().strip()

    def throttle(self, on):
        for key, limit in (("read_iops", IOPS), ("read_bps", BYTES_PER_SECOND)):
            put(BLKIO.format(key), f"{self.device} {limit if on else 0}")

    def reads(self):
        """Completed reads, and their bytes, since the device exists."""
        with open(f"/sys/block/{os.path.basename(self.loop)}/stat", encoding="ascii") as stat:
            fields = [int(field) for field in stat.read().split()]
        return fields[0], fields[2] * 512

    def evict(self):
        for folder, _, names in os.walk(self.directory):
            for name in names:
                descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)

    def __exit__(self, *_):
        if self.device:
            self.throttle(False)
        if os.path.ismount(self.directory):
            run("umount", self.directory)
        if self.loop:
            run("losetup", "-d", self.loop)
        shutil.rmtree(self.base, ignore_errors=True)


class Forgetting:
    """Drops the files' pages again and again, for the time of a with statement."""

    def __init__(self, disk):
        self.disk = disk
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.stop.wait(CACHE_SECONDS):
            self.disk.evict()

    def __enter__(self):
        self.disk.evict()
        self.thread.start()

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


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
    if not os.path.exists(BLKIO.format("read_iops")):
        raise SystemExit("bench: --disk needs cgroup v1's blkio controller with throttling")
    rows = []
    with Disk(args.directory) as disk:
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
