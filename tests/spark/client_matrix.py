"""One version of Spark with the client, under several settings: codecs, encryption, serializer. What scripts/spark-client-matrix runs, by the
Python of that Spark.

First, without Spark running: whether it has all that the client's jar names. Then, for each setting, an application of its own: records that
are checked one by one, rows of SQL, and queries of which stock Spark's answers are known; all of the first two must be read merged. Prints a
line for each; exit code 1 if one does not hold.
"""

import argparse
import os
import pathlib
import signal
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

# pylint: disable=wrong-import-position
from client_app import ClientApp  # noqa: E402
from client_queries import answer, make_tables, stock_answers  # noqa: E402
from link_check import missing  # noqa: E402
from private_network import enter_private_network  # noqa: E402
from record_job import RecordJob  # noqa: E402
from standalone import ROOT, spark_environment, spark_home  # noqa: E402

MAPS, PARTITIONS = 6, 8
CODEC = "spark.io.compression.codec"
ENCRYPTED = {"spark.io.encryption.enabled": "true"}
SETTINGS = {
    "lz4": {CODEC: "lz4"},
    "zstd": {CODEC: "zstd"},
    "snappy": {CODEC: "snappy"},
    "lzf": {CODEC: "lzf"},
    "not compressed, kryo": {"spark.shuffle.compress": "false", "spark.serializer": "org.apache.spark.serializer.KryoSerializer"},
    "encrypted": ENCRYPTED,
    "settings that change nothing": {"spark.shuffle.push.enabled": "true",  # outside of YARN
                                     "spark.shuffle.sort.io.plugin.class": "org.apache.spark.shuffle.sort.io.LocalDiskShuffleDataIO"},
    "encrypted, zstd, 256 bits": ENCRYPTED | {CODEC: "zstd", "spark.io.encryption.keySizeBits": "256"},
}
COMMON = {"spark.sql.ansi.enabled": "false"}  # sums of hashes wrap around, as in Spark 3
# Small limits, so that adaptive execution coalesces, splits skewed partitions and reads map outputs locally.
ADAPTIVE = {
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": "20k",
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "16k",
    "spark.sql.adaptive.skewJoin.skewedPartitionFactor": "1.5",
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
    "spark.sql.autoBroadcastJoinThreshold": "4k",
    "spark.sql.shuffle.partitions": "6",
}


class Wrong(Exception):
    """What did not hold."""


def require(condition, text):
    if not condition:
        raise Wrong(text)


def merged_percent(app, name, action):
    _, read, stages = app.reading(action)
    require(sum(stage.numFailedTasks() for stage in stages.values()) == 0, f"{name}: a task has failed")
    require(read["shuffleMergedFetchFallbackCount"] == 0, f"{name}: blocks were read at their origin instead")
    percent = 100 * read["shuffleMergedLocalBytesRead"] / max(1, read["shuffleReadBytes"])
    require(percent >= 95, f"{name}: only {percent:.0f} % of {read['shuffleReadBytes']} bytes were read merged")
    return percent


def records(app):
    job = RecordJob(app.session.sparkContext, MAPS, PARTITIONS, 60000)
    job.run_maps()
    app.wait_merged(job.shuffle(), MAPS)
    return merged_percent(app, "records", job.check)


def rows(app):
    frame = app.session.range(40000, numPartitions=MAPS).selectExpr("id", "sha2(cast(id as string), 256) as v")
    frozen = app.freeze(frame.repartition(PARTITIONS, "id"))
    known = set(app.shuffles())
    expected = frozen.selectExpr("count(*)", "sum(xxhash64(id, v))").collect()
    app.wait_merged(min(set(app.shuffles()) - known), MAPS)
    again = []
    percent = merged_percent(app, "rows", lambda: again.extend(frozen.selectExpr("count(*)", "sum(xxhash64(id, v))").collect()))
    require(again == expected and expected[0][0] == 40000, f"rows: {again} instead of {expected}")
    return percent, preferred(app, frozen, min(set(app.shuffles()) - known))


def preferred(app, frozen, shuffle):
    """(partitions whose task prefers its owner's host, partitions)"""
    addresses = {node["name"]: node["address"] for node in app.cluster.nodes}
    honoured = 0
    with open(app.cluster.path(0, ".shufflefs", "owners", f"{app.app},{shuffle},{PARTITIONS}"), encoding="ascii") as file:
        for first, last, owner, *_ in map(str.split, file):
            for partition in range(int(first), int(last) + 1):
                honoured += app.preferred_hosts(frozen, partition) == [addresses[owner]]
    return honoured, PARTITIONS


def queries(app, expected, names):
    for key, value in ADAPTIVE.items():
        app.session.conf.set(key, value)
    make_tables(app.session, 1)
    for name in names:
        require(answer(app.session, name) == expected[name], f"query {name}: not what stock Spark answers")


def run(only, with_queries, local_mode):
    import pyspark  # pylint: disable=import-outside-toplevel,import-error
    scala = spark_environment(spark_home(sys.executable), "")["SPARK_SCALA_VERSION"]
    unknown = missing(ROOT / "build" / "client" / f"shufflefs-spark_{scala}.jar", f"{spark_home(sys.executable)}/jars")
    if unknown:
        print(f"Spark {pyspark.__version__}, Scala {scala}: FAILED: the client's jar does not fit", *unknown, sep="\n  ", flush=True)
        return 1
    expected = {}
    if with_queries:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as directory:
            expected = stock_answers(1, directory)
    failed = False
    with ClientApp(sys.executable, conf=COMMON | SETTINGS[only[0]], flags=("--local-mode", local_mode)) as app:
        for number, name in enumerate(only):
            if number:
                app.restart_session(COMMON | SETTINGS[name])
            asked = list(expected) if number == 0 else list(expected)[:4]
            try:
                of_records, (of_rows, (honoured, all_of_them)) = records(app), rows(app)
                queries(app, expected, asked)
                text = (f"{of_records:.0f} % of the records' bytes and {of_rows:.0f} % of the rows' read merged; {honoured} of {all_of_them} "
                        f"preferred locations are the owners; {len(asked)} queries answered as by stock Spark")
            except (Wrong, AssertionError) as wrong:
                failed = True
                text = f"FAILED: {wrong}"
            print(f"Spark {pyspark.__version__}, Scala {scala}, local-mode {local_mode}, {name}: {text}", flush=True)
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", choices=SETTINGS, action="append", help="only this one; may be given several times")
    parser.add_argument("--no-queries", action="store_true", help="leave the queries out, which take most of the time")
    parser.add_argument("--local-mode", default="auto", help="of the daemons (default: auto)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended on the way out
    enter_private_network()
    return run(options.setting or list(SETTINGS), not options.no_queries, options.local_mode)


if __name__ == "__main__":
    sys.exit(main())
