"""one map output: the client's writing and Spark's, on the mount and on the bare disk

Four Sparks live side by side: on the mount and in another directory of the same disk, with Spark's writing of map outputs and with
the client's. In turn each writes one map output in several ways: the file alone, with blocks that lie in another file or are made,
and all that Spark's three shuffle writers do for it, of which the file is the end. Medians of the milliseconds, after rounds that
warm up.
"""

import glob
import os
import re
import statistics
import subprocess
import sys
import tempfile

from served_mount import ServedMount
from stepped_program import SteppedProgram

WARM_UP = 20
SPARK, CLIENT = "org.apache.spark.shuffle.sort.io.LocalDiskShuffleDataIO", "org.shufflefs.spark.ShufflefsDataIO"
PLACES = {"disk, Spark": ("native", SPARK), "disk, client": ("native", CLIENT), "mount, Spark": ("through", SPARK), "mount, client": ("through", CLIENT)}


def options(parser):
    parser.add_argument("--program", help="a shufflefs binary (default: the build's)")
    parser.add_argument("--directory", default="/var/tmp", help="where the files lie")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--partitions", type=int, default=200)
    parser.add_argument("--block-bytes", type=int, default=5000)
    parser.add_argument("--no-passthrough", action="store_true", help="as on a kernel without it")


def start_writer(java, args, local_dir, plugin):
    """A JVM that answers with the milliseconds of one map output, by the way of writing."""
    os.mkdir(local_dir)
    return SteppedProgram([*java, "org.shufflefs.spark.MapOutputTimes", local_dir, plugin, str(args.partitions), str(args.block_bytes)])


def java_command(args, classes):
    """Compiles the writer; the command that runs a class of it."""
    subprocess.run([f"{args.root}/scripts/client"], check=True)
    setup = subprocess.run([f"{args.root}/scripts/spark-setup"], stdout=subprocess.PIPE, text=True, check=True).stdout
    environment = os.path.dirname(os.path.dirname(re.search("python: +(.+)", setup)[1]))
    jars = glob.glob(f"{environment}/lib/python3*/site-packages/pyspark/jars")[0]
    path = f"{args.root}/build/client/shufflefs-spark_2.12.jar:{jars}/*"
    sources = [f"{args.root}/tests/spark/SparksWriters.java", f"{args.root}/tests/bench/MapOutputTimes.java"]
    subprocess.run(["javac", "-d", classes, "-cp", path, *sources], check=True)
    sys.path[:0] = [f"{args.root}/tests/support", f"{args.root}/tests/spark"]
    from standalone import OPENED  # pylint: disable=import-outside-toplevel
    opens = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED]
    log = f"-Dlog4j.configurationFile=file:{args.root}/tests/spark/log4j2-client.properties"
    return ["java", "-Xmx1g", *opens, log, "-cp", f"{classes}:{path}"]


def measure(args, java, mounted):
    """[{way: milliseconds}] of the rounds, by the place."""
    writers = {name: start_writer(java, args, f"{getattr(mounted, side)}/{plugin.rpartition('.')[2]}", plugin)
               for name, (side, plugin) in PLACES.items()}
    rounds = {name: [] for name in writers}
    for number in range(WARM_UP + args.rounds):
        for name in sorted(writers, reverse=number % 2 == 1):
            times = writers[name].round()
            if number >= WARM_UP:
                rounds[name].append(times)
    for writer in writers.values():
        writer.stop()
    return rounds


def run(args):
    more = ["--local-mode=fuse"] if args.no_passthrough else []
    with tempfile.TemporaryDirectory() as classes:
        java = java_command(args, classes)
        with ServedMount(args.program or f"{args.build}/shufflefs", args.build, args.directory, more) as mounted:
            rounds = measure(args, java, mounted)
    print(f"milliseconds of a map output of {args.partitions} x {args.block_bytes} bytes, medians of {args.rounds} rounds, "
          f"load {os.getloadavg()[0]:.0f}")
    print(f"{'':20}" + "".join(f"{name:>16}" for name in PLACES))
    for way in rounds["disk, Spark"][0]:
        print(f"{way:20}" + "".join(f"{statistics.median(times[way] for times in rounds[name]):16.1f}" for name in PLACES))
    return 0
