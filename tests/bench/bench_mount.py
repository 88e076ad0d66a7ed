"""data and names through local/ and natively

Writes and reads of 4 KiB to 1 MiB, in order and in random order, and calls on names, with 1 to 16 threads, through
local/disk0 and in another directory of the same disk, turn about in batches (io_bench, meta_bench). A figure is the
median of its rounds, a ratio the median of the rounds' ratios. Everything stays in the page cache, so that the cost of
a call is seen and not the disk's.
"""

import json
import os
import statistics
import subprocess
import sys

import mount_report
from served_mount import ServedMount

OPERATIONS = ["round", "stat", "stat_uncached", "open_read_close", "unlink", "readdir"]
FULL = {"blocks": [4096, 8192, 16384, 32768, 65536, 131072, 262144, 1048576], "data_threads": [1, 4, 16],
        "name_threads": [1, 2, 4, 8, 16], "rounds": 7, "turns": 40, "bytes": 48 << 20}
QUICK = {"blocks": [8192, 32768, 1048576], "data_threads": [1, 4], "name_threads": [1, 4], "rounds": 5, "turns": 20,
         "bytes": 48 << 20}


def options(parser):
    parser.add_argument("--program", help="'native_mount', or a shufflefs binary (default: the build's)")
    parser.add_argument("--option", action="append", default=[], help="handed to the program, such as --option=--threads=4")
    parser.add_argument("--directory", default="/var/tmp", help="where the disk's files lie")
    parser.add_argument("--place", action="append", choices=["memory", "disk"], help="default: both")
    parser.add_argument("--quick", action="store_true", help="fewer blocks, threads and rounds: two minutes")
    parser.add_argument("--strict", action="store_true", help="exit code 1 when a goal is missed")
    parser.add_argument("--out", metavar="DIR", help="write mount.md, mount.svg and mount.json there")


def say(text):
    print(text, file=sys.stderr, flush=True)


def measured(program, arguments):
    output = subprocess.run([program, *arguments], stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(output)


def compare(through, native, higher_is_better):
    """Medians, and how fast the mount is compared with the disk: 1 is as fast, 0.5 half as fast."""
    ratios = [a / b if higher_is_better else b / a for a, b in zip(through, native)]
    return {"mount": round(statistics.median(through), 2), "native": round(statistics.median(native), 2),
            "ratio": round(statistics.median(ratios), 3)}


def data_rows(args, mounted, plan):
    rows = []
    for threads in plan["data_threads"]:
        for pattern in ("sequential", "random"):
            for block in plan["blocks"]:
                say(f"  {pattern}, {threads} threads, {block // 1024} KiB ...")
                result = measured(f"{args.build}/tests/bench/io_bench", [
                    "--a", mounted.through, "--b", mounted.native, "--block", str(block), "--threads", str(threads),
                    "--bytes", str(plan["bytes"] // (1 if threads == 1 else 3)),
                    "--rounds", str(plan["rounds"] if threads == 1 else max(3, plan["rounds"] // 2)),
                    *(["--random"] if pattern == "random" else [])])
                for kind in ("write", "read"):
                    rows.append({"kind": f"{pattern} {kind}", "block": block, "threads": threads,
                                 **compare(result["a"][kind], result["b"][kind], True)})
    return rows


def name_rows(args, mounted, plan):
    rows = []
    for operation in OPERATIONS:
        for threads in plan["name_threads"]:
            say(f"  {operation}, {threads} threads ...")
            # Dropping the kernel's caches takes long and concerns the whole machine.
            turns = plan["turns"] // 4 if operation == "stat_uncached" else plan["turns"]
            result = measured(f"{args.build}/tests/bench/meta_bench", [
                "--a", mounted.through, "--b", mounted.native, "--operation", operation, "--threads", str(threads),
                "--turns", str(turns), "--batch", "1000" if operation == "readdir" else str(max(25, 200 // threads))])
            rows.append({"operation": operation, "threads": threads, **compare(result["a"], result["b"], False)})
    return rows


def commit_of(root):
    described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False)
    return described.stdout.strip() or "unknown"


def measure(args, program, plan):
    places = {"memory": "/dev/shm", "disk": args.directory}
    report = {"program": os.path.basename(program), "options": args.option, "kernel": os.uname().release,
              "processors": os.cpu_count(), "commit": commit_of(args.root), "plan": plan, "places": {}}
    for name in args.place or ["disk", "memory"]:
        with ServedMount(program, args.build, places[name], args.option) as mounted:
            say(f"{name} ({places[name]}):")
            report["places"][name] = {
                "directory": places[name],
                "filesystem": subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "--target", places[name]], capture_output=True, text=True,
                                             check=True).stdout.split()[0],
                "data": data_rows(args, mounted, plan), "names": name_rows(args, mounted, plan)}
    return report


def run(args):
    program = args.program
    if program is None:
        served = f"{args.build}/shufflefs"
        program = served if os.access(served, os.X_OK) else "native_mount"
    say(f"program: {program}, build: {args.build}")
    report = measure(args, program, QUICK if args.quick else FULL)
    table = mount_report.markdown(report)
    print(table)
    if args.out:
        os.makedirs(args.out, exist_ok=True)
        for name, text in (("md", table), ("svg", mount_report.picture(report)), ("json", json.dumps(report, indent=1))):
            with open(f"{args.out}/mount.{name}", "w", encoding="utf-8") as out:
                out.write(text)
    missed = mount_report.missed(report)
    for line in missed:
        print(f"missed: {line}")
    return 1 if missed and args.strict else 0
