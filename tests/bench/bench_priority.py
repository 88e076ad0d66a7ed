"""what background reads cost others: small random reads beside sequential ones, which are idle class or not

Eight threads read a large file in pieces of 1 MiB, as pushes do whose map outputs are no longer in the page cache; one thread
reads blocks of 4 KiB of another, as a shuffle service does. Everything with O_DIRECT. Needs a disk with the scheduler
mq-deadline or bfq: the others do not know priorities.
"""

import ctypes
import mmap
import os
import platform
import random
import shutil
import tempfile
import threading
import time

IOPRIO_SET = {"x86_64": 251, "aarch64": 30}.get(platform.machine())
WHO_PROCESS, CLASS_IDLE = 1, 3 << 13
THREADS, SMALL, LARGE, SIZE = 8, 4096, 1 << 20, 512 << 20


def options(parser):
    parser.add_argument("--directory", default="/var/tmp", help="on the disk that is asked")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=2)


def scheduler(directory):
    device = os.stat(directory).st_dev
    base = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    for path in (f"{base}/queue/scheduler", f"{base}/../queue/scheduler"):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                return file.read().strip()
    return "unknown"


class Background:
    def __init__(self, path, idle):
        self.path, self.idle, self.pieces, self.stop = path, idle, 0, False
        self.threads = [threading.Thread(target=self.read, args=(number,)) for number in range(THREADS)]

    def read(self, number):
        if self.idle:
            ctypes.CDLL(None).syscall(IOPRIO_SET, WHO_PROCESS, 0, CLASS_IDLE)
        file, buffer, offset = os.open(self.path, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, LARGE), number * (SIZE // THREADS)
        while not self.stop:
            os.preadv(file, [buffer], offset % SIZE)
            offset += LARGE
            self.pieces += 1
        os.close(file)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        for thread in self.threads:
            thread.join()


def foreground(path, seconds):
    """Reads a second, and the 99th percentile in ms."""
    file, buffer, times = os.open(path, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, SMALL), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.monotonic()
        os.preadv(file, [buffer], random.randrange(SIZE // SMALL) * SMALL)
        times.append(time.monotonic() - begin)
    os.close(file)
    times.sort()
    return len(times) / seconds, times[len(times) * 99 // 100] * 1000


def run(args):
    directory = tempfile.mkdtemp(prefix="shufflefs-bench-priority-", dir=args.directory)
    try:
        paths = [os.path.join(directory, name) for name in ("small", "large")]
        for path in paths:
            with open(path, "wb") as file:
                for _ in range(SIZE >> 20):
                    file.write(os.urandom(1 << 20))
        os.sync()
        print(f"scheduler: {scheduler(directory)}")
        for _ in range(args.rounds):
            rate, slow = foreground(paths[0], args.seconds)
            print(f"alone                      {rate:6.0f} small reads/s, 99 % within {slow:5.1f} ms", flush=True)
            for idle in (False, True):
                with Background(paths[1], idle) as background:
                    begin = time.monotonic()
                    rate, slow = foreground(paths[0], args.seconds)
                    megabytes = background.pieces * LARGE / 1e6 / (time.monotonic() - begin)
                print(f"beside {'idle' if idle else 'ordinary':9} readers {rate:9.0f} small reads/s, 99 % within {slow:5.1f} ms; "
                      f"the others {megabytes:.0f} MB/s", flush=True)
        return 0
    finally:
        shutil.rmtree(directory, ignore_errors=True)
