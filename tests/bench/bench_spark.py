"""Spark jobs on nodes with emulated hard disks: stock Spark with our shuffle service, and with the client

Each node has a disk of its own (a loop device held to 150 reads/s and 100 MB/s; its page cache forgets after a second). The
map stage is run alone; then, when all pushes are done and what was written is on the disks, the reduce stage, which checks
the bytes by their sum. Both systems run in turn in one private network; compare ratios, not seconds, on a shared machine.
Spark's own JVM service is not measured here (scripts/bench service compares the two services).
"""

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SYSTEMS = ("stock", "client")
BYTES_PER_SECOND = 100_000_000


def options(parser):
    parser.add_argument("--system", choices=SYSTEMS, action="append", help="only this one; may be given twice")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--maps", type=int, default=200)
    parser.add_argument("--reducers", type=int, default=200)
    parser.add_argument("--mb-per-map", type=float, default=10)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--no-disks", action="store_true", help="on the machine's own disk, everything in the page cache")
    parser.add_argument("--directory", default="/var/tmp", help="where the disks' images lie")
    parser.add_argument("--json", help="also write the rows there")


def run(args):
    """Goes on as the Python that has Spark, which lives in one process with the driver."""
    setup = subprocess.run([f"{args.root}/scripts/spark-setup"], stdout=subprocess.PIPE, text=True, check=True).stdout
    python = re.search("python: +(.+)", setup)[1]
    subprocess.run([f"{args.root}/scripts/client"], check=True)
    words = {name: value for name, value in vars(args).items() if name not in ("run", "command")}
    rows = []
    for number in range(args.repetitions):
        for system in args.system or SYSTEMS[::-1 if number % 2 else 1]:
            with tempfile.NamedTemporaryFile("r", suffix=".json") as answer:
                words |= {"one": system, "answer": answer.name}
                environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
                subprocess.run([python, "-W", "ignore", os.path.abspath(__file__), json.dumps(words)], check=True,
                               env=environment | {"SHUFFLEFS_BUILD": args.build, "PYTHONDONTWRITEBYTECODE": "1"})
                rows.append(json.load(answer))
            print(line(rows[-1]), flush=True)
    report(rows)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
    return 0


def line(row):
    return "  ".join(f"{name} {value}" for name, value in row.items())


def report(rows):
    of = {system: [row for row in rows if row["system"] == system] for system in SYSTEMS}
    if all(of.values()):
        for name in ("map_s", "reduce_s", "total_s", "reads"):
            ratio = statistics.median(a[name] / b[name] for a, b in zip(of["client"], of["stock"]) if b[name])
            print(f"client / stock, {name}: {ratio:.2f}")


# ---- One system, in the Python with Spark


class Disks:
    """The nodes' disks, or none."""

    def __init__(self, words, stack):
        self.disks = []
        self.stack = stack
        self.words = words

    def prepare(self, directory):
        from service_disk import Disk  # pylint: disable=import-outside-toplevel
        for node in range(1, self.words["nodes"] + 1):
            disk = self.stack.enter_context(Disk(self.words["directory"]))
            os.makedirs(f"{directory}/node{node}")
            os.symlink(disk.directory, f"{directory}/node{node}/data")
            self.disks.append(disk)

    def throttle(self, on):
        from service_disk import BLKIO, IOPS, put  # pylint: disable=import-outside-toplevel
        for disk in self.disks:
            disk.throttle(on)
            for key, limit in (("read_bps", BYTES_PER_SECOND), ("write_bps", BYTES_PER_SECOND), ("write_iops", IOPS)):
                put(BLKIO.format(key), f"{disk.device} {limit if on else 0}")

    def reads(self):
        counts = [disk.reads() for disk in self.disks]
        return sum(count for count, _ in counts), sum(size for _, size in counts)

    def forgetting(self):
        from service_disk import Forgetting  # pylint: disable=import-outside-toplevel
        stack = contextlib.ExitStack()
        for disk in self.disks:
            stack.enter_context(Forgetting(disk))
        return stack


def services(app):
    """(CPU seconds, MB at most) of the daemons' worker processes."""
    seconds = memory = 0.0
    for node in range(len(app.cluster.nodes)):
        for pid in app.cluster.workers(node):
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                fields = stat.read().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                memory += int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) / 1024
    return seconds, memory


def wait_for(future):
    while not future.isCompleted():
        time.sleep(0.05)


def one(words):
    sys.path[:0] = [HERE, f"{words['root']}/tests/spark", f"{words['root']}/tests/support"]
    from client_app import ClientApp  # pylint: disable=import-outside-toplevel
    from private_network import enter_private_network  # pylint: disable=import-outside-toplevel
    enter_private_network()
    client = words["one"] == "client"
    conf = {"spark.shuffle.compress": "false", "spark.shuffle.spill.compress": "false", "spark.shuffle.reduceLocality.enabled": "false",
            "spark.shuffle.sort.bypassMergeThreshold": "1"}
    # Without the client nobody reads merged partitions, so nothing is pushed.
    flags = () if client else ("--push.enabled", "false")
    with contextlib.ExitStack() as stack:
        disks = Disks(words, stack)
        app = stack.enter_context(ClientApp(sys.executable, nodes=words["nodes"], flags=flags, conf=conf, client=client,
                                            prepare=None if words["no_disks"] else disks.prepare))
        stack.callback(disks.throttle, False)
        row = measure(app, disks, words)
    with open(words["answer"], "w", encoding="utf-8") as file:
        json.dump({"system": words["one"], **row}, file)


def measure(app, disks, words):
    from shuffle_cluster import until  # pylint: disable=import-outside-toplevel
    session = app.session
    # 100 bytes of hex digits and an id: about 120 bytes a row.
    rows = int(words["mb_per_map"] * 1e6 * words["maps"] / 120)
    payload = "concat(sha2(cast(id as string), 256), substring(sha2(cast(-id as string), 256), 1, 36))"
    frame = session.range(0, rows, 1, words["maps"]).selectExpr("id", f"{payload} as v").repartition(words["reducers"], "id")
    session.range(0, 10000, 1, 8).repartition(8).write.format("noop").mode("overwrite").save()  # warms up
    rdd = frame._jdf.queryExecution().toRdd()  # pylint: disable=protected-access
    known = set(app.shuffles())
    disks.throttle(True)
    begin = time.monotonic()
    wait_for(app.context().submitMapStage(rdd.dependencies().head()))
    map_s = time.monotonic() - begin
    if words["one"] == "client":
        until(lambda: set(app.shuffles()) - known, "the shuffle is known")
        app.wait_merged(min(set(app.shuffles()) - known), words["maps"])
    for disk in disks.disks:
        subprocess.run(["sync", "-f", disk.directory], check=True)
    flush_s = time.monotonic() - begin - map_s
    from pyspark.sql import DataFrame  # pylint: disable=import-outside-toplevel,import-error
    java = session._jsparkSession.internalCreateDataFrame(rdd, frame._jdf.schema(), False)  # pylint: disable=protected-access
    read = DataFrame(java, session).selectExpr("count(*)", "sum(length(v))", "sum(id)")
    reads, read_bytes = disks.reads()
    with disks.forgetting():
        begin = time.monotonic()
        (answer, metrics, _) = app.reading(read.collect)
        reduce_s = time.monotonic() - begin
    after, after_bytes = disks.reads()
    assert tuple(answer[0]) == (rows, 100 * rows, rows * (rows - 1) // 2), f"wrong result: {answer}"
    cpu, memory = services(app)
    count = after - reads
    return {"map_s": round(map_s, 1), "flush_s": round(flush_s, 1), "reduce_s": round(reduce_s, 1),
            "total_s": round(map_s + flush_s + reduce_s, 1), "reads": count,
            "mean_kb": round((after_bytes - read_bytes) / 1024 / max(count, 1)), "read_mb": round((after_bytes - read_bytes) / 1e6),
            "shuffle_mb": round(metrics["shuffleReadBytes"] / 1e6),
            "merged_percent": round(100 * metrics["shuffleMergedLocalBytesRead"] / metrics["shuffleReadBytes"]),
            "chunks": int(app.metric("shufflefs_spark_chunks_total")), "services_cpu_s": round(cpu, 1), "services_mb": round(memory)}


if __name__ == "__main__":
    one(json.loads(sys.argv[1]))
