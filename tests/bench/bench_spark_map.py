"""a Spark map stage with its local dir on the mount and on the bare disk

Sparks live side by side: stock Spark in a directory of the bare disk, and for each mode of local/ stock Spark and Spark with the
client on a mount over the same disk. They do the same shuffle in turn, and the time of its map stage is compared with stock Spark's
on the bare disk: the median of the rounds' ratios, after rounds that warm up. Records are made in the JVM. With --with-merge the
applications are known to shufflefs, which then merges what the map tasks have written (on the one node of each mount, so that
everything is read and written once more on the same disk).
"""

import contextlib
import glob
import os
import re
import statistics
import subprocess

from served_mount import ServedMount
from stepped_program import SteppedProgram

GOALS = {"stock": 1.03, "client": 0.98}
WARM_UP = 3
BARE = "bare disk, stock"


def options(parser):
    parser.add_argument("--program", help="a shufflefs binary (default: the build's)")
    parser.add_argument("--directory", default="/var/tmp", help="where the files lie")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--maps", type=int, default=40)
    parser.add_argument("--partitions", type=int, default=100)
    parser.add_argument("--rows", type=int, default=6_000_000, help="of about 90 bytes each")
    parser.add_argument("--modes", default="passthrough", help="of local/, with commas between them: passthrough,bind,fuse (default: passthrough)")
    parser.add_argument("--with-merge", action="store_true", help="let shufflefs merge what is written")
    parser.add_argument("--strict", action="store_true", help=f"exit code 1 when a ratio is above {GOALS['stock']} (with the client: {GOALS['client']})")


class Sparks:
    """By name; each does one round at a time."""

    def __init__(self, args):
        self.args = args
        self.rounds = {}
        self.running = {}
        setup = subprocess.run([f"{args.root}/scripts/spark-setup"], stdout=subprocess.PIPE, text=True, check=True).stdout
        self.python = re.search("python: +(.+)", setup)[1]
        self.job = os.path.join(os.path.dirname(os.path.abspath(__file__)), "spark_map_job.py")
        self.bytes = 0

    def start(self, name, local_dir, jar=None):
        args = self.args
        os.mkdir(local_dir)
        if args.with_merge and name != BARE:
            os.setxattr(local_dir, "user.shufflefs.app", b"bench")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
        client = ["--client", jar] if jar else []
        self.running[name] = SteppedProgram([self.python, self.job, "--local-dir", local_dir, "--maps", str(args.maps), "--partitions",
                                             str(args.partitions), "--rows", str(args.rows), *client], environment)
        self.rounds[name] = []

    def measure(self):
        for number in range(WARM_UP + self.args.rounds):
            for name in sorted(self.running, reverse=number % 2 == 1):
                result = self.running[name].round()
                if number >= WARM_UP:
                    self.rounds[name].append(result["map_ms"])
                    self.bytes = result["bytes"]
            if number >= WARM_UP:
                print(f"round {number - WARM_UP + 1}: " + ", ".join(f"{name} {times[-1]} ms" for name, times in self.rounds.items()), flush=True)
        for spark in self.running.values():
            spark.stop()


def run(args):
    subprocess.run([f"{args.root}/scripts/client"], check=True)
    jar = glob.glob(f"{args.root}/build/client/shufflefs-spark_2.12.jar")[0]
    sparks = Sparks(args)
    with contextlib.ExitStack() as stack:
        for mode in args.modes.split(","):
            mounted = stack.enter_context(ServedMount(args.program or f"{args.build}/shufflefs", args.build, args.directory, [f"--local-mode={mode}"]))
            if BARE not in sparks.running:
                sparks.start(BARE, f"{mounted.native}/spark")
            sparks.start(f"{mode}, stock", f"{mounted.through}/stock")
            sparks.start(f"{mode}, client", f"{mounted.through}/client", jar)
        sparks.measure()
    print(f"map stage of {args.maps} tasks x {args.partitions} partitions, {sparks.bytes / 1e6:.0f} MB, {args.rounds} rounds, "
          f"load {os.getloadavg()[0]:.0f}; {BARE}: {statistics.median(sparks.rounds[BARE]):.0f} ms")
    missed = False
    for name, times in sparks.rounds.items():
        if name == BARE:
            continue
        ratios = sorted(a / b for a, b in zip(times, sparks.rounds[BARE]))
        goal = GOALS[name.rpartition(" ")[2]]
        missed = missed or statistics.median(ratios) > goal
        print(f"  {name:20} {statistics.median(times):6.0f} ms, median of the rounds' ratios {statistics.median(ratios):.3f} "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f}; goal {goal})")
    return 1 if args.strict and missed else 0
