"""Spark jobs on nodes with emulated hard disks: Spark's own shuffle service, ours, and the client

Each node has a disk of its own (a loop device held to 150 requests/s and 100 MB/s in both directions; its page cache forgets after a
second). The map stage is run alone; then, when all pushes are done and what was written is on the disks, the reduce stage, which checks
every record. The systems take turns, in a private network. Compare ratios, not seconds, on a shared machine.

  jvm     stock Spark and its org.apache.spark.deploy.ExternalShuffleService, one for each node
  ours    stock Spark and our service on the same port; nothing is pushed
  relay   stock Spark, our service and its relay, pushing; each node has a network of its own
  client  our service, pushing, and the Spark client

--queries runs SQL with adaptive execution instead of the job.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile

import spark_report
from emulated_disk import require_blkio
from spark_report import SYSTEMS

HERE = os.path.dirname(os.path.abspath(__file__))
STOP_SECONDS = 180
KIB = 1024
# Block size: maps, reducers. 50 KB is what the figures of the other shuffle systems were measured with.
SHAPES = {4 * KIB: (200, 200), 20 * KIB: (200, 200), 50000: (200, 200), 1024 * KIB: (40, 50)}


def options(parser):
    parser.add_argument("--system", choices=SYSTEMS, action="append", help="only this one; may be given twice")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--block-bytes", type=int, action="append", help=f"of a block; may be given several times ({', '.join(map(str, SHAPES))})")
    parser.add_argument("--maps", type=int, help="map tasks (200; 40 for blocks of 1 MiB)")
    parser.add_argument("--reducers", type=int, help="partitions (200; 50 for blocks of 1 MiB)")
    parser.add_argument("--repetitions", type=int, default=1, help="every second one in reverse order")
    parser.add_argument("--queries", action="store_true", help="SQL instead of the job")
    parser.add_argument("--rows", type=int, default=1_500_000, help="of the queries' wide table, 220 bytes each")
    parser.add_argument("--no-disks", action="store_true", help="on the machine's own disk, everything in the page cache")
    parser.add_argument("--directory", default="/var/tmp", help="where the disks' images lie")
    parser.add_argument("--flag", action="append", default=[], help="for our daemons, such as --flag=--memory=256M")
    parser.add_argument("--conf", action="append", default=[], metavar="KEY=VALUE", help="for Spark")
    parser.add_argument("--out", metavar="DIR", help="add the rows to spark.json there, and write spark.md and pictures of all that it has")


def run(args):
    if not args.no_disks:
        require_blkio()
    setup = subprocess.run([f"{args.root}/scripts/spark-setup"], stdout=subprocess.PIPE, text=True, check=True).stdout
    python = re.search("python: +(.+)", setup)[1]
    subprocess.run([f"{args.root}/scripts/client"], check=True)
    # Whoever ends this ends the run that is going on, which then takes away what it has made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = spark_report.Report(args.out, args.root)
    for number in range(args.repetitions):
        for block in [0] if args.queries else args.block_bytes or SHAPES:
            for system in (args.system or SYSTEMS)[::-1 if number % 2 else 1]:
                row = one_run(python, args, block, system)
                report.add(row | {"disks": not args.no_disks, "nodes": args.nodes})
                print(spark_report.line(row), flush=True)
    print(report.markdown())
    return 0


def words_for(args, block, system):
    maps, reducers = SHAPES.get(block, (200, 200))
    kept = ("root", "build", "nodes", "queries", "rows", "no_disks", "directory", "flag", "conf")
    return {name: getattr(args, name) for name in kept} | {
        "system": system, "block_bytes": block, "maps": args.maps or maps, "reducers": args.reducers or reducers}


def one_run(python, args, block, system):
    """Not subprocess.run, which would kill it on an interrupt, in the middle of its taking away."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
    environment |= {"SHUFFLEFS_BUILD": args.build, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": args.directory}
    with tempfile.NamedTemporaryFile("r", suffix=".json") as answer:
        words = words_for(args, block, system) | {"answer": answer.name}
        process = subprocess.Popen([python, "-W", "ignore", f"{HERE}/spark_run.py", json.dumps(words)], env=environment,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(STOP_SECONDS)
        if code != 0:
            raise SystemExit(f"bench: {system} has failed ({code})")
        return json.load(answer)
