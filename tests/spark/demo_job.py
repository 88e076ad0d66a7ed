#!/usr/bin/env python3
"""The Spark job of scripts/spark-demo: which of this machine's packages hold files that others hold too, and in which words
their licences are written. Seven shuffles: joins, aggregations, a sort.

With --staged the shuffle stages are run one at a time (SparkContext.submitMapStage, which is what adaptive execution does);
before each, and while it runs, a line goes to the standard output, and the job goes on when a line comes in:

  STAGE <number> <of> <shuffle id> <tasks>     waits for a line
  PROGRESS <number> <done> <of>                goes on
  DONE <number> <seconds>                      goes on
  RESULT <rows> <seconds>                      the end

The rows are written as JSON to --output. To be run by the Python of scripts/spark-setup.
"""

import argparse
import json
import os
import sys
import threading
import time

WORDS = "filter(split(lower(value), '[^a-z]+'), word -> length(word) > 3)"


def say(*words):
    print(*words, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--master", required=True, metavar="URL")
    parser.add_argument("--conf", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--input", required=True, metavar="DIR", help="the tables that demo_data.py has written")
    parser.add_argument("--partitions", type=int, default=8, metavar="N", help="of each shuffle (8)")
    parser.add_argument("--maps", type=int, default=24, metavar="N", help="map tasks that read the tables, about (24)")
    parser.add_argument("--staged", action="store_true", help="wait for a line before each stage")
    parser.add_argument("--again", action="store_true",
                        help="run it once more, with adaptive execution, which reads several partitions at once")
    parser.add_argument("--output", required=True, metavar="FILE")
    return parser.parse_args()


# ---- The query -------------------------------------------------------------------------------------------------------


def read(spark, options, name, columns):
    """One of the tables of demo_data.py."""
    lines = spark.read.text(os.path.join(options.input, f"{name}.tsv"))
    fields = [f"split(value, '\\t')[{number}] AS {column}" for number, column in enumerate(columns)]
    return lines.selectExpr(*fields)


def question(spark, options):
    """The DataFrame: for each package its files, how many files have the same content as they, its licence's words."""
    files = read(spark, options, "files", ["package", "path"]).where("path <> ''")
    sums = read(spark, options, "sums", ["package", "md5", "path"])
    known = files.join(sums, ["package", "path"])
    copies = known.groupBy("md5").agg({"path": "count"}).withColumnRenamed("count(path)", "copies")
    by_package = known.join(copies, "md5").groupBy("package").agg({"path": "count", "copies": "sum"})
    by_package = by_package.selectExpr("package", "`count(path)` AS files", "`sum(copies)` AS copies")
    words = (read(spark, options, "licences", ["package", "value"]).selectExpr("package", f"explode({WORDS}) AS word")
             .groupBy("package", "word").count())
    by_licence = words.groupBy("package").agg({"count": "sum", "word": "count"})
    by_licence = by_licence.selectExpr("package", "`sum(count)` AS words", "`count(word)` AS different_words")
    return by_package.join(by_licence, "package", "left").orderBy("files", "package")


def rows_of(frame):
    return [list(row) for row in frame.collect()]


# ---- Running it in stages --------------------------------------------------------------------------------------------


def exchanges(plan, found):
    """The plan's shuffles, what is read first. Nodes come from Java; a shuffle that is used twice counts once."""
    children = plan.children()
    for number in range(children.size()):
        exchanges(children.apply(number), found)
    if plan.getClass().getSimpleName() == "ShuffleExchangeExec" and all(not plan.equals(other) for other in found):
        found.append(plan)
    return found


def watch(spark, number, is_finished):
    """Says how far the running stage is, whenever that has changed."""
    tracker = spark.sparkContext.statusTracker()
    last = None
    while not is_finished():
        for stage in tracker.getActiveStageIds():
            info = tracker.getStageInfo(stage)
            if info and info.numActiveTasks and (stage, info.numCompletedTasks) != last:
                last = (stage, info.numCompletedTasks)
                say("PROGRESS", number, info.numCompletedTasks, info.numTasks)
        time.sleep(0.05)


def wait_for_go():
    if not sys.stdin.readline():
        sys.exit("whoever has started this job is gone")


def run_shuffle(spark, exchange, number, total):
    """One map stage; the dependency of a sort first runs a job that samples its input."""
    dependency = exchange.shuffleDependency()
    tasks = dependency.rdd().getNumPartitions()
    say("STAGE", number, total, dependency.shuffleId(), tasks)
    wait_for_go()
    begin = time.monotonic()
    future = spark.sparkContext._jsc.sc().submitMapStage(dependency)  # pylint: disable=protected-access
    watch(spark, number, future.isCompleted)
    result = future.value().get()
    if not result.isSuccess():
        sys.exit(f"shuffle {number}: {result}")
    say("DONE", number, f"{time.monotonic() - begin:.1f}")


def run_in_stages(spark, frame):
    plan = frame._jdf.queryExecution().executedPlan()  # pylint: disable=protected-access
    found = exchanges(plan, [])
    total = len(found) + 1
    for number, exchange in enumerate(found, 1):
        run_shuffle(spark, exchange, number, total)
    say("STAGE", total, total, -1, 0)
    wait_for_go()
    begin = time.monotonic()
    rows = []
    thread = threading.Thread(target=lambda: rows.extend(rows_of(frame)))
    thread.start()
    watch(spark, total, lambda: not thread.is_alive())
    thread.join()
    say("DONE", total, f"{time.monotonic() - begin:.1f}")
    return rows


# ---- Spark -----------------------------------------------------------------------------------------------------------


def start_spark(options):
    from pyspark.sql import SparkSession  # pylint: disable=import-outside-toplevel

    tables = sum(entry.stat().st_size for entry in os.scandir(options.input))
    settings = {
        "spark.sql.shuffle.partitions": options.partitions,
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.autoBroadcastJoinThreshold": "-1",  # joins are to shuffle
        "spark.sql.files.openCostInBytes": 0,
        "spark.sql.files.maxPartitionBytes": tables // options.maps + 1,
        "spark.ui.showConsoleProgress": "false",
    }
    settings |= dict(setting.split("=", 1) for setting in options.conf)
    builder = SparkSession.builder.master(options.master).appName("shufflefs spark-demo")
    for name, value in settings.items():
        builder = builder.config(name, str(value))
    return builder.getOrCreate()


def main():
    options = parse_arguments()
    spark = start_spark(options)
    say("APP", spark.sparkContext.applicationId)
    begin = time.monotonic()
    frame = question(spark, options)
    rows = run_in_stages(spark, frame) if options.staged else rows_of(frame)
    if options.again:
        spark.conf.set("spark.sql.adaptive.enabled", "true")
        started = time.monotonic()
        if rows_of(question(spark, options)) != rows:
            sys.exit("the second run, with adaptive execution, gave other rows")
        say("AGAIN", f"{time.monotonic() - started:.1f}")
    with open(options.output, "w", encoding="utf-8") as output:
        json.dump(rows, output)
    say("RESULT", len(rows), f"{time.monotonic() - begin:.1f}")
    spark.stop()


if __name__ == "__main__":
    main()
