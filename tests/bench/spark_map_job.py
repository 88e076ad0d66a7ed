#!/usr/bin/env python3
"""A Spark that does the same shuffle again and again, once for each line that it reads, and prints the milliseconds of
its map stage as a line of JSON. Run by bench_spark_map.py with the Python of scripts/spark-setup.
"""

import argparse
import json
import os
import sys
import time

from pyspark.sql import SparkSession  # pylint: disable=import-error


def map_stage(context, number):
    """Spark's own record of the map stage of the job with that number; each job has one map stage and one that reads."""
    scala = context._jsc.sc()  # pylint: disable=protected-access
    scala.listenerBus().waitUntilEmpty()
    return scala.statusStore().lastStageAttempt(2 * number)


def shuffle_files(directory):
    return sum(name.startswith("shuffle_") for _, _, names in os.walk(directory) for name in names)


def forget(session, directory):
    """Waits until Spark has removed what the last round wrote, so that every round starts alike."""
    deadline = time.monotonic() + 60
    while shuffle_files(directory):
        session._jvm.System.gc()  # pylint: disable=protected-access
        if time.monotonic() > deadline:
            raise SystemExit("Spark keeps its shuffle files")
        time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local-dir", required=True)
    parser.add_argument("--maps", type=int, required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--client", metavar="JAR", help="shufflefs's shuffle manager, from this jar")
    options = parser.parse_args()
    settings = {"spark.local.dir": options.local_dir, "spark.master": "local[2]", "spark.driver.memory": "2g", "spark.ui.enabled": "false",
                "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.sql.adaptive.enabled": "false",
                "spark.shuffle.compress": "false", "spark.log.level": "ERROR"}
    if options.client:
        settings |= {"spark.driver.extraClassPath": options.client, "spark.shuffle.manager": "org.shufflefs.spark.ShufflefsManager"}
    builder = SparkSession.builder.appName("spark-map")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    print(json.dumps({"ready": True}), flush=True)
    for number, _ in enumerate(sys.stdin):
        rows = session.range(0, options.rows, 1, options.maps).selectExpr("id", "repeat(cast(id as string), 12) as text")
        rows.repartition(options.partitions).write.format("noop").mode("overwrite").save()
        stage = map_stage(session.sparkContext, number)
        took = stage.completionTime().get().getTime() - stage.submissionTime().get().getTime()
        print(json.dumps({"map_ms": took, "bytes": stage.shuffleWriteBytes()}), flush=True)
        del rows
        forget(session, options.local_dir)
    session.stop()


if __name__ == "__main__":
    main()
