"""A hard disk that is emulated: a loop device with direct I/O, held to a disk's seeks and rate.

The limits are those of cgroup v1's blkio throttling in the root group: there it counts what anybody reads from or writes to that
device, writeback too. It counts requests before they are merged, so that the read-ahead must be long. ext4 reads large folios of
files that grew interleaved in many small requests, each of which is charged as a seek: hence XFS, where mkfs.xfs is installed.
"""

import os
import shutil
import subprocess
import tempfile
import threading

BLKIO = "/sys/fs/cgroup/blkio/blkio.throttle.{}_device"
IOPS = 150
READ_AHEAD_KB = 1024  # 128 would make a sequential reader slow
CACHE_SECONDS = 1.0


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def put(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def require_blkio():
    if not os.path.exists(BLKIO.format("read_iops")):
        raise SystemExit("bench: emulated disks need cgroup v1's blkio controller with throttling")


class Disk:
    """The emulated disk, mounted at `directory`, for the time of a with statement. Reads are limited when it is throttled; writes
    too if `writes` says so, and then at most `dirty_bytes` wait in memory to be written."""

    def __init__(self, base, image_bytes=1 << 30, bytes_per_second=150_000_000, writes=False, dirty_bytes=64 << 20):
        self.base = tempfile.mkdtemp(prefix="shufflefs-disk-", dir=base)
        self.directory = f"{self.base}/mounted"
        self.image_bytes = image_bytes
        self.limits = {"read_iops": IOPS, "read_bps": bytes_per_second}
        self.dirty_bytes = dirty_bytes if writes else 0
        if writes:
            self.limits |= {"write_iops": IOPS, "write_bps": bytes_per_second}
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
            file.truncate(self.image_bytes)
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
        if self.dirty_bytes:
            put(f"/sys/class/bdi/{self.device}/strict_limit", "1")
            put(f"/sys/class/bdi/{self.device}/max_bytes", str(self.dirty_bytes))

    def throttle(self, on):
        for key, limit in self.limits.items():
            put(BLKIO.format(key), f"{self.device} {limit if on else 0}")

    def reads(self):
        """Completed reads, and their bytes, since the device exists."""
        fields = self._statistics()
        return fields[0], fields[2] * 512

    def written_bytes(self):
        return self._statistics()[6] * 512

    def _statistics(self):
        with open(f"/sys/block/{os.path.basename(self.loop)}/stat", encoding="ascii") as stat:
            return [int(field) for field in stat.read().split()]

    def evict(self):
        """Drops the clean pages of this disk's files: whatever else runs on the machine keeps its own."""
        for folder, _, names in os.walk(self.directory):
            for name in names:
                try:
                    descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
                except OSError:  # removed meanwhile
                    continue
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)

    def __exit__(self, *_):
        if self.device:
            self.throttle(False)
        if os.path.ismount(self.directory):
            self._unmount()
        if self.loop:
            run("losetup", "-d", self.loop)
        shutil.rmtree(self.base, ignore_errors=True)

    def _unmount(self):
        """What has it open may be ending just now. At the last it goes as soon as nobody has it open."""
        for _ in range(10):
            if subprocess.run(["umount", self.directory], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return
            threading.Event().wait(0.5)
        run("umount", "--lazy", self.directory)


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
