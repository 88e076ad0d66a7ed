"""pushing with a secret and TLS, with a secret, and with neither, turn about: CPU seconds for each GB, and the rate

Three daemons push the same map outputs to each other and merge them, as in scripts/bench push: two thirds of the bytes cross
a connection. Each round does it once in every way, beginning with another one; what start and end cost, measured in the
same round with next to no bytes, is taken off. The ratio of a round is to "neither" in that round. In a network
namespace of its own. Needs root.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from bench_push import say, shape, shufflefs
from mount_report import table

NODES = 3
BLOCK = 64 << 10


def options(parser):
    parser.add_argument("--directory", default="/var/tmp", help="where everything lies")
    parser.add_argument("--megabytes", type=int, default=512, help="of map outputs in each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", metavar="FILE", help="write the figures there, as JSON")


def ways(directory):
    from credentials import make_certificates, write_secret  # pylint: disable=import-outside-toplevel
    secret = write_secret(directory)
    return {"neither": ["--insecure", "true"], "secret": secret,
            "secret and TLS": secret + make_certificates(directory, [f"node{i + 1}" for i in range(NODES)])}


def measure(args, case, flags):
    directory = tempfile.mkdtemp(prefix="shufflefs-bench-tls-", dir=args.directory)
    try:
        return shufflefs(args, directory, case, flags)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def one_round(args, order):
    case = shape(args.megabytes, BLOCK, NODES)
    empty = {"nodes": NODES, "maps": NODES, "partitions": 1, "block": 1}
    figures = {}
    for name, flags in order:
        idle, busy = measure(args, empty, flags), measure(args, case, flags)
        if busy["merged_share"] < 0.999:
            raise SystemExit(f"bench: only {100 * busy['merged_share']:.1f} % merged")
        figures[name] = {"cpu_s_per_gb": (busy["cpu_s"] - idle["cpu_s"]) / busy["gb"], "mb_per_s": busy["gb"] * 1000 / (busy["seconds"] - idle["seconds"])}
        say(f"{name}: {figures[name]['cpu_s_per_gb']:.2f} CPU s/GB, {figures[name]['mb_per_s']:.0f} MB/s "
            f"(start and end: {idle['cpu_s']:.2f} CPU s, {idle['seconds']:.1f} s)")
    return figures


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def markdown(args, rounds):
    def row(name):
        def values(key, ratio):
            return [figures[name][key] / (figures["neither"][key] if ratio else 1) for figures in rounds]
        return [name, spread(values("cpu_s_per_gb", False)), spread(values("cpu_s_per_gb", True)), f"{statistics.median(values('mb_per_s', False)):.0f}",
                spread(values("mb_per_s", True))]
    commit = subprocess.run(["git", "-C", args.root, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    lines = [f"`scripts/bench tls`, commit {commit}, kernel {os.uname().release}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.0f} at the end: "
             f"{len(rounds)} rounds of {args.megabytes} MiB; the median (lowest to highest).", ""]
    return "\n".join(lines + table(["way", "CPU s/GB", "of neither", "MB/s", "of neither"], [row(name) for name in rounds[0]])) + "\n"


def run(args):
    sys.path.insert(0, f"{args.root}/tests/support")
    from private_network import enter_private_network  # pylint: disable=import-outside-toplevel
    enter_private_network()
    with tempfile.TemporaryDirectory(prefix="shufflefs-bench-tls-keys-") as directory:
        order = list(ways(directory).items())
        rounds = []
        for number in range(args.rounds):
            first = number % len(order)
            rounds.append(one_round(args, order[first:] + order[:first]))
    print(markdown(args, [{name: figures[name] for name, _ in order} for figures in rounds]))
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump(rounds, file, indent=1)
    return 0
