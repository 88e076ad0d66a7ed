"""a Spark map stage with its local dir on the mount and on the bare disk

Two Sparks live side by side, one with its local dir on the mount and one in another directory of the same disk. They do
the same shuffle in turn, and the time of its map stage is compared: the median of the rounds' ratios, after rounds that
warm up. With --with-merge the application is known to shufflefs, which then merges what the map tasks have written
(on this one node, so that everything is read and written once more on the same disk).
"""

import os
import re
import statistics
import subprocess

from served_mount import ServedMount
from stepped_program import SteppedProgram

GOAL = 1.03
WARM_UP = 3


def options(parser):
    parser.add_argument("--program", help="a shufflefs binary (default: the build's)")
    parser.add_argument("--directory", default="/var/tmp", help="where the files lie")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--maps", type=int, default=40)
    parser.add_argument("--partitions", type=int, default=100)
    parser.add_argument("--rows", type=int, default=6_000_000, help="of about 90 bytes each")
    parser.add_argument("--with-merge", action="store_true", help="let shufflefs merge what is written")
    parser.add_argument("--strict", action="store_true", help=f"exit code 1 when the ratio is above {GOAL}")


def start_spark(python, args, local_dir):
    job = os.path.join(os.path.dirname(os.path.abspath(__file__)), "spark_map_job.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
    return SteppedProgram([python, job, "--local-dir", local_dir, "--maps", str(args.maps), "--partitions", str(args.partitions),
                           "--rows", str(args.rows)], environment)


def run(args):
    setup = subprocess.run([f"{args.root}/scripts/spark-setup"], stdout=subprocess.PIPE, text=True, check=True).stdout
    python = re.search("python: +(.+)", setup)[1]
    with ServedMount(args.program or f"{args.build}/shufflefs", args.build, args.directory) as mounted:
        places = {"mount": f"{mounted.through}/spark", "native": f"{mounted.native}/spark"}
        for place in places.values():
            os.mkdir(place)
        if args.with_merge:
            os.setxattr(places["mount"], "user.shufflefs.app", b"bench")
        sparks = {name: start_spark(python, args, place) for name, place in places.items()}
        rounds = {name: [] for name in places}
        for number in range(WARM_UP + args.rounds):
            for name in sorted(sparks, reverse=number % 2 == 1):
                result = sparks[name].round()
                if number >= WARM_UP:
                    rounds[name].append(result["map_ms"])
                    size = result["bytes"]
            if number >= WARM_UP:
                print(f"round {number - WARM_UP + 1}: " + ", ".join(f"{name} {times[-1]} ms" for name, times in rounds.items()), flush=True)
        for spark in sparks.values():
            spark.stop()
    ratio = statistics.median(a / b for a, b in zip(rounds["mount"], rounds["native"]))
    print(f"map stage of {args.maps} tasks x {args.partitions} partitions, {size / 1e6:.0f} MB: "
          f"mount {statistics.median(rounds['mount']):.0f} ms, native {statistics.median(rounds['native']):.0f} ms, "
          f"median of the rounds' ratios {ratio:.3f} (goal {GOAL}), {args.rounds} rounds")
    return 1 if args.strict and ratio > GOAL else 0
