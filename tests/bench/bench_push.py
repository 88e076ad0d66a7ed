"""pushing and merging: CPU seconds for each GB, against cp and a raw TCP copy of the same bytes

Map outputs lie ready on the nodes' disks; then the daemons start, find them, and push them to each other until everything
is merged. Measured: CPU seconds of all daemons together (both sides of every push), the time, their peak memory. For each
case the same bytes are copied by cp and by a plain TCP connection, in the same run. Blocks of 1 KiB to 4 MiB, 2 to 8 nodes,
and growth from 10^3 to 10^6 blocks (10^7 with --full). In a network namespace of its own. Needs root.
"""

import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import push_report

CLOCK = os.sysconf("SC_CLK_TCK")
GOAL = 1.5  # CPU seconds for each GB at blocks of 64 KiB
PATIENCE = 900


def options(parser):
    parser.add_argument("--directory", default="/var/tmp", help="where everything lies")
    parser.add_argument("--megabytes", type=int, default=256, help="of map outputs in each case of the first table")
    parser.add_argument("--quick", action="store_true", help="less of everything: two minutes")
    parser.add_argument("--full", action="store_true", help="also 10^7 blocks")
    parser.add_argument("--strict", action="store_true", help="exit code 1 when a goal is missed")
    parser.add_argument("--out", metavar="DIR", help="write push.md, push.svg and push.json there")


def say(text):
    print(text, file=sys.stderr, flush=True)


class Node:
    def __init__(self, args, directory, number, members, port, flags=()):
        self.name, self.port = f"node{number}", port
        self.directory = os.path.join(directory, self.name)
        self.data = os.path.join(self.directory, "data")
        self.maps = os.path.join(self.data, "maps", "app", "0-0")
        os.makedirs(self.maps)
        self.command = [f"{args.build}/shufflefs", "serve", "--node", self.name, "--mount", f"{self.directory}/mnt", "--data", self.data,
                        "--members", members, "--peer-listen", f"127.0.0.{number}:7338", "--http-listen", f"127.0.0.{number}:7340",
                        "--spark-listen", "", "--memory", "128M", "--disk.reserve", "1M", *flags]
        self.process = None

    def start(self):
        with open(f"{self.directory}/log", "wb") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)  # pylint: disable=consider-using-with

    def processes(self):
        done = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [self.process.pid, *map(int, done.stdout.split())]

    def cpu_seconds(self):
        total = 0
        for process in self.processes():
            with open(f"/proc/{process}/stat", encoding="utf-8") as stat:
                fields = stat.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / CLOCK

    def peak_mb(self):
        peaks = []
        for process in self.processes():
            with open(f"/proc/{process}/status", encoding="utf-8") as status:
                peaks += [int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM")]
        return max(peaks)

    def status(self, path):
        done = subprocess.run(["curl", "-s", "-m", "30", f"http://{self.command[self.command.index('--http-listen') + 1]}{path}"],
                              capture_output=True, text=True, check=False)
        return done.stdout

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)


def write_outputs(nodes, maps, partitions, block):
    """Spark's two files for each map output; the bytes are the same all over, which costs nobody less."""
    payload = os.urandom(block)
    index = b"".join(struct.pack(">q", block * i) for i in range(partitions + 1))
    for number in range(maps):
        place = nodes[number % len(nodes)].maps
        with open(f"{place}/{number}.data", "wb") as data:
            data.write(payload * partitions)
        with open(f"{place}/{number}.index", "wb") as file:
            file.write(index)


def wait_until_merged(nodes, maps):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            shuffle = json.loads(nodes[0].status("/api/v1/shuffles/app/0"))
            if shuffle.get("maps") == maps and shuffle["maps_settled"] + shuffle["maps_given_up"] == maps:
                return shuffle
        except json.JSONDecodeError:
            pass
        for node in nodes:
            if node.process.poll() is not None:
                raise SystemExit(f"bench: {node.name} has ended, see {node.directory}/log")
        time.sleep(0.1)
    raise SystemExit(f"bench: not merged within {PATIENCE} s: {nodes[0].status('/api/v1/status')[:2000]}")


def extents(nodes):
    """The mean length of an extent of a merged file, in KiB; and how many files that is."""
    lengths, files = [], 0
    for node in nodes:
        for directory, _, names in os.walk(os.path.join(node.data, "merged")):
            for name in names:
                path = os.path.join(directory, name)
                if not name.endswith(".data") or files >= 200:
                    continue
                done = subprocess.run(["filefrag", path], capture_output=True, text=True, check=False)
                count = int(done.stdout.rsplit(":", 1)[1].split()[0]) if ":" in done.stdout else 0
                if count:
                    files += 1
                    lengths.append(os.path.getsize(path) / 1024 / count)
    return sum(lengths) / len(lengths) if lengths else 0


def shufflefs(args, directory, case, flags=()):
    """`flags` are for every daemon."""
    members = ",".join(f"node{i + 1}=127.0.0.{i + 1}:7338" for i in range(case["nodes"]))
    nodes = [Node(args, directory, i + 1, members, 7338, flags) for i in range(case["nodes"])]
    try:
        write_outputs(nodes, case["maps"], case["partitions"], case["block"])
        begin = time.monotonic()
        for node in nodes:
            node.start()
        shuffle = wait_until_merged(nodes, case["maps"])
        seconds = time.monotonic() - begin
        os.sync()
        gigabytes = shuffle["bytes"] / 1e9
        return {"cpu_s": sum(node.cpu_seconds() for node in nodes), "seconds": seconds, "gb": gigabytes,
                "merged_share": shuffle["merged_bytes"] / max(1, shuffle["bytes"]), "peak_mb": max(node.peak_mb() for node in nodes),
                "extent_kib": extents(nodes)}
    finally:
        for node in nodes:
            node.stop()


def cpu_of_children(work):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.monotonic() - begin


def cp(source, target):
    cpu, seconds = cpu_of_children(lambda: subprocess.run(["cp", source, target], check=True))
    os.unlink(target)
    return {"cpu_s": cpu, "seconds": seconds}


RECEIVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
connection = listener.accept()[0]
buffer = bytearray(2 << 20)
with open(sys.argv[2], "wb", buffering=0) as file:
    while (n := connection.recv_into(buffer)):
        file.write(memoryview(buffer)[:n])
"""
SENDER = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection, open(sys.argv[2], "rb", buffering=0) as file:
    buffer = bytearray(2 << 20)
    while (n := file.readinto(buffer)):
        connection.sendall(memoryview(buffer)[:n])
"""


def raw_tcp(source, target):
    """Read, send, receive, write: what a push must do at the least, with buffers of 2 MiB and in two processes."""
    def work():
        with subprocess.Popen([sys.executable, "-c", RECEIVER, "9999", target], stdout=subprocess.PIPE) as receiver:
            receiver.stdout.readline()
            subprocess.run([sys.executable, "-c", SENDER, "9999", source], check=True)
            receiver.wait(600)
    cpu, seconds = cpu_of_children(work)
    os.unlink(target)
    return {"cpu_s": cpu, "seconds": seconds}


def run_case(args, case):
    directory = tempfile.mkdtemp(prefix="shufflefs-bench-push-", dir=args.directory)
    try:
        result = {**case, "ours": shufflefs(args, directory, case)}
        shutil.rmtree(directory)
        os.makedirs(directory)
        source, target = os.path.join(directory, "source"), os.path.join(directory, "target")
        total = case["maps"] * case["partitions"] * case["block"]
        piece = os.urandom(1 << 20)
        with open(source, "wb") as file:
            for _ in range(max(1, total >> 20)):
                file.write(piece)
        gigabytes = os.path.getsize(source) / 1e9
        for name, copy in (("cp", cp), ("tcp", raw_tcp)):
            result[name] = {**copy(source, target), "gb": gigabytes}
        ours = result["ours"]
        say(f"{case}: {ours['cpu_s'] / ours['gb']:.2f} CPU s/GB, {ours['seconds']:.1f} s, {100 * ours['merged_share']:.1f} % merged, "
            f"peak {ours['peak_mb']:.0f} MB, extents of {ours['extent_kib']:.0f} KiB; cp {result['cp']['cpu_s'] / gigabytes:.2f}, "
            f"TCP {result['tcp']['cpu_s'] / gigabytes:.2f} CPU s/GB")
        return result
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def shape(megabytes, block, nodes):
    """About so many bytes: the partitions of a map output make 4 MiB, or 16 of them where the blocks are large."""
    partitions = max(16, (4 << 20) // block)
    maps = max(nodes, (megabytes << 20) // (partitions * block))
    return {"nodes": nodes, "maps": maps, "partitions": partitions, "block": block}


def plan(args):
    megabytes = 64 if args.quick else args.megabytes
    blocks = [1 << 10, 64 << 10, 1 << 20] if args.quick else [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20]
    sizes = [shape(megabytes, block, 2) for block in blocks]
    nodes = [shape(megabytes, 64 << 10, count) for count in ([4] if args.quick else [4, 8])]
    growth = [{"nodes": 2, "maps": side, "partitions": side, "block": 200} for side in ([32, 100, 316] if args.quick else [32, 100, 316, 1000])]
    if args.full:
        growth.append({"nodes": 2, "maps": 3162, "partitions": 3162, "block": 200})
    return {"sizes": sizes, "nodes": nodes, "growth": growth}


def run(args):
    sys.path.insert(0, f"{args.root}/tests/support")
    from private_network import enter_private_network  # pylint: disable=import-outside-toplevel
    enter_private_network()
    report = {name: [run_case(args, case) for case in cases] for name, cases in plan(args).items()}
    report["kernel"] = os.uname().release
    report["processors"] = os.cpu_count()
    report["load"] = os.getloadavg()[0]
    report["commit"] = subprocess.run(["git", "-C", args.root, "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                                      check=False).stdout.strip()
    text = push_report.markdown(report)
    print(text)
    if args.out:
        os.makedirs(args.out, exist_ok=True)
        for name, content in (("push.md", text), ("push.json", json.dumps(report, indent=1)), ("push.svg", push_report.picture(report))):
            with open(os.path.join(args.out, name), "w", encoding="utf-8") as file:
                file.write(content)
    missed = push_report.missed(report, GOAL)
    for line in missed:
        say("missed: " + line)
    return 1 if missed and args.strict else 0
