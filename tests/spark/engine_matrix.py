"""One engine on one version of Spark through the relay, without our client: three nodes, each with a network of its own. What
scripts/spark-engines runs, by the Python of that Spark.

Are all answers stock Spark's, and is what is merged read merged? Prints a line; exit code 1 if something does not hold.
"""

import argparse
import contextlib
import os
import pathlib
import signal
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

# pylint: disable=wrong-import-position
from client_app import ClientApp  # noqa: E402
from client_queries import QUERIES, TABLES, answer, stock_answers  # noqa: E402
from private_network import enter_private_network  # noqa: E402
from separate_networks import HUB, Networks, SeparateCluster  # noqa: E402

NODES, PARTITIONS = 3, 12
COMET = {
    "spark.plugins": "org.apache.spark.CometPlugin",
    "spark.shuffle.manager": "org.apache.spark.sql.comet.execution.shuffle.CometShuffleManager",
    "spark.comet.shuffle.enabled": "true",
    "spark.comet.shuffle.mode": "native",
    "spark.memory.offHeap.enabled": "true",
    "spark.memory.offHeap.size": "512m",
}
# What stands in a plan whose shuffle the engine writes.
MARKS = {"spark": "Exchange hashpartitioning", "comet": "CometExchange"}


def make_files(session, scale, directory):
    """The tables as Parquet, which engines read themselves."""
    for name, query in TABLES.items():
        session.sql(query.format(scale=scale)).write.parquet(f"{directory}/{name}")
        session.read.parquet(f"{directory}/{name}").createOrReplaceTempView(name)


def merged_again(app, engine):
    """(the merged share of what the relay gave when a shuffle that is merged was read again, its bytes); the rows must be the same."""
    session = app.session
    known = set(app.shuffles())
    frame = session.table("lineitem").repartition(PARTITIONS, "l_orderkey")
    plan = frame._jdf.queryExecution().executedPlan().toString()  # pylint: disable=protected-access
    if MARKS[engine] not in plan:
        raise SystemExit(f"{engine} does not write the shuffle:\n{plan}")
    frozen = app.freeze(frame)
    def ask():
        return frozen.selectExpr("count(*)", "sum(xxhash64(l_orderkey, l_partkey, l_quantity))").collect()
    first = ask()
    shuffle = min(set(app.shuffles()) - known)
    app.wait_merged(shuffle, session.table("lineitem").rdd.getNumPartitions())
    before = app.cluster.relayed()
    if ask() != first:
        raise SystemExit("the rows are others when they are read again")
    found = {source: count - before[source] for source, count in app.cluster.relayed().items()}
    total = sum(found.values())
    return 100 * (total - found["origin"]) / max(1, total), total


def run(options):
    import pyspark  # pylint: disable=import-outside-toplevel,import-error
    conf = {"spark.sql.ansi.enabled": "false", "spark.executor.memory": "700m"}
    if options.engine == "comet":
        conf |= COMET | {"spark.driver.extraClassPath": options.jar, "spark.executor.extraClassPath": options.jar}
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))
        expected = stock_answers(options.scale, directory)
        networks = stack.enter_context(Networks(NODES))
        app = stack.enter_context(ClientApp(sys.executable, NODES, client=False, conf=conf, memory_mib=2048, master=HUB, prefix=networks.prefix,
                                            services=lambda: SeparateCluster(networks, "--spark-relay", "redirect")))
        make_files(app.session, options.scale, directory)
        wrong = [name for name in QUERIES if answer(app.session, name) != expected[name]]
        of_queries = app.cluster.relayed()
        percent, size = merged_again(app, options.engine)
        text = (f"{len(QUERIES) - len(wrong)} of {len(QUERIES)} answers are stock Spark's; the relay gave {sum(of_queries.values()) / 1e6:.1f} MB for them; "
                f"of a merged shuffle it gave {percent:.0f} % of {size / 1e6:.1f} MB merged")
        failed = bool(wrong) or percent < 95 or not size
        print(f"Spark {pyspark.__version__}, {options.engine}: {'FAILED: ' if failed else ''}{text}{''.join(f'; {name} is wrong' for name in wrong)}",
              flush=True)
        return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=MARKS, default="spark")
    parser.add_argument("--jar", help="the engine's")
    parser.add_argument("--scale", type=int, default=20)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended on the way out
    enter_private_network()
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
