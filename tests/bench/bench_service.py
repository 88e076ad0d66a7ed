"""our External Shuffle Service and the JVM's, serving the same files

Throughput, CPU seconds for each GB and resident memory with 1, 16 and 256 connections and blocks of 4 KiB, 64 KiB and
1 MiB from the page cache, turn about: both services run all the time, one of them is asked at a time (service_load, which
checks what comes). With --disk also on an emulated hard disk: how many reads, of which size, many small blocks cost. All of
it happens in a network namespace of its own. Needs root, a Java runtime and scripts/spark-setup.
"""

import fcntl
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile

import service_disk
import service_report
from service_sides import JvmService, OurService

# Of each block size: the shuffle's number, maps, partitions. 64 to 256 MiB, so that they stay in the page cache.
FILES = {4096: (1, 256, 64), 65536: (2, 128, 32), 1 << 20: (3, 32, 8)}
FULL = {"connections": [1, 16, 256], "rounds": 3, "seconds": 3.0, "warm_up": 10.0}
QUICK = {"connections": [1, 16, 256], "rounds": 1, "seconds": 1.0, "warm_up": 4.0}
INSIDE = "SHUFFLEFS_BENCH_NAMESPACE"
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def options(parser):
    parser.add_argument("--program", help="a shufflefs binary (default: the build's)")
    parser.add_argument("--option", action="append", default=[], help="handed to our service, such as --option=--threads=4")
    parser.add_argument("--directory", default="/var/tmp", help="where the map outputs lie")
    parser.add_argument("--side", action="append", choices=["shufflefs", "JVM"], help="only this one (default: both)")
    parser.add_argument("--quick", action="store_true", help="one short round of each: a minute")
    parser.add_argument("--disk", action="store_true", help="also on an emulated hard disk (cgroup v1 blkio): five minutes")
    parser.add_argument("--disk-only", action="store_true", help="only that")
    parser.add_argument("--strict", action="store_true", help="exit code 1 when a goal is missed")
    parser.add_argument("--out", metavar="DIR", help="write service.md, service.svg and service.json there")


def say(text):
    print(text, file=sys.stderr, flush=True)


def enter_namespace():
    """The JVM service listens on every address: not in a network where anybody is."""
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    with socket.socket() as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def load(args, side, directory, block, connections, *more):
    shuffle, maps, partitions = FILES[block]
    command = [f"{args.build}/tests/bench/service_load", "--address", f"127.0.0.1:{side.port}", "--directory", directory,
               "--shuffle", str(shuffle), "--maps", str(maps), "--partitions", str(partitions), "--block-bytes", str(block),
               "--connections", str(connections), *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {side.name}, {connections} connections, blocks of {block}: {done.stderr}")
    return json.loads(done.stdout)


def one_run(args, side, directory, block, connections, seconds):
    process = side.measured()
    process.forget_peak()
    before = process.cpu_seconds()
    result = load(args, side, directory, block, connections, "--seconds", str(seconds))
    gigabytes = result["bytes"] / 1e9
    return {"mb_s": result["bytes"] / result["seconds"] / 1e6, "cpu_s_gb": (process.cpu_seconds() - before) / gigabytes,
            "rss_mb": process.resident_mb("VmHWM"), "p99_ms": result["request_ms"]["p99"],
            "load_share": result["load_cpu_seconds"] / result["seconds"]}


def median_of(runs):
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def measure(args, sides, directory, plan):
    for side in sides:
        say(f"  warming {side.name} up ...")
        for block in FILES:
            load(args, side, directory, block, 16, "--seconds", str(plan["warm_up"] / len(FILES)))
    rows = []
    for block in FILES:
        for connections in plan["connections"]:
            say(f"  blocks of {block // 1024} KiB, {connections} connections ...")
            runs = {side.name: [] for side in sides}
            for turn in range(plan["rounds"]):
                for side in sides if turn % 2 == 0 else reversed(sides):
                    runs[side.name].append(one_run(args, side, directory, block, connections, plan["seconds"]))
            rows.append({"block": block, "connections": connections,
                         **{name: median_of(found) for name, found in runs.items()}})
    return rows


def from_page_cache(args, wanted, plan):
    directory = tempfile.mkdtemp(prefix="shufflefs-service-", dir=args.directory)
    try:
        local = f"{directory}/blockmgr-bench"  # as Spark has it: a directory of its own below the one that is allowed
        say("page cache: writing the map outputs ...")
        for block, (shuffle, maps, partitions) in FILES.items():
            subprocess.run([f"{args.build}/tests/bench/service_load", "--make", "--directory", local, "--shuffle",
                            str(shuffle), "--maps", str(maps), "--partitions", str(partitions), "--block-bytes", str(block)],
                           check=True)
        with Sides(args, wanted, directory) as sides:
            idle = {side.name: round(side.measured().resident_mb(), 1) for side in sides}
            rows = measure(args, sides, local, plan)
            threads = {side.name: side.measured().status("Threads") for side in sides}
        return {"plan": plan, "idle_rss_mb": idle, "threads": threads, "rows": rows}
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Sides:
    """The services that are wanted, all of them running."""

    def __init__(self, args, wanted, directory):
        makers = {"shufflefs": lambda: OurService(args.program, args.build, args.directory, directory, args.option),
                  "JVM": lambda: JvmService(args.root)}
        self.sides = [makers[name]() for name in wanted]

    def __enter__(self):
        started = []
        try:
            for side in self.sides:
                started.append(side.__enter__())
        except BaseException:
            for side in reversed(started):
                side.__exit__()
            raise
        return started

    def __exit__(self, *_):
        for side in reversed(self.sides):
            side.__exit__()


def commit(root):
    done = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() or "unknown"


def run(args):
    enter_namespace()
    wanted = args.side or ["shufflefs", "JVM"]
    report = {"benchmark": "service", "commit": commit(args.root), "kernel": os.uname().release,
              "processors": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    if not args.disk_only:
        report["cache"] = from_page_cache(args, wanted, QUICK if args.quick else FULL)
    if args.disk or args.disk_only:
        report["disk"] = service_disk.measure(args, wanted, Sides)
    print(service_report.markdown(report))
    if args.out:
        os.makedirs(args.out, exist_ok=True)
        written = {"json": json.dumps(report, indent=1), "md": service_report.markdown(report)}
        if "cache" in report:
            written["svg"] = service_report.picture(report)
        for ending, text in written.items():
            with open(f"{args.out}/service.{ending}", "w", encoding="utf-8") as out:
                out.write(text)
    missed = service_report.missed(report)
    for line in missed:
        print(f"missed: {line}")
    return 1 if missed and args.strict else 0
