#!/usr/bin/env python3
"""A real Spark job with its local dir on a shufflefs mount: counts words (shuffle 0), sorts them by count (shuffle 1).

The result is compared with plain Python's. While Spark runs, the merged partitions are compared, byte for byte, with
the files that Spark wrote; when it has stopped, these must be gone, and the shuffles with them. Exit code 0: all of it
held; 1: not, and the last line says what. To be run by the Python of scripts/spark-setup.
"""

import argparse
import collections
import os
import re
import struct
import subprocess
import sys
import time
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
# Words are ASCII letters, so that Java and Python agree about them in texts of any encoding.
WORD = "[A-Za-z]+"
DATA_FILE = re.compile(r"shuffle_(\d+)_(\d+)_0\.data")
INDEX_FILE = re.compile(r"shuffle_(\d+)_(\d+)_0\.index")
CHECKSUM_FILE = re.compile(r"shuffle_(\d+)_(\d+)_0\.checksum\.ADLER32")
# Spark's blocks are LZ4 streams. A stream's header (magic, token, two lengths, checksum) tells blocks apart.
BLOCK_HEADER_BYTES = 21


class Wrong(Exception):
    """Something that must hold does not; the text says what."""


def require(condition, text):
    if not condition:
        raise Wrong(text)


def say(text):
    print(text, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--local-dir", required=True, metavar="DIR", help="Spark's local dir; inside the mount")
    parser.add_argument("--text", required=True, nargs="+", metavar="FILE", help="the texts whose words are counted")
    parser.add_argument("--app", required=True, metavar="NAME", help="the application's name below shuffles/")
    parser.add_argument("--shufflefs", required=True, metavar="PROGRAM", help="the program, for its command wait")
    parser.add_argument("--http", required=True, metavar="ADDR:PORT", help="the node whose mount it is")
    parser.add_argument("--maps", type=int, default=24, metavar="N", help="about so many map tasks in shuffle 0 (24)")
    parser.add_argument("--partitions", type=int, default=8, metavar="N", help="partitions of each shuffle (8)")
    parser.add_argument("--job-done", metavar="FILE", help="made, and a moment waited, before Spark removes its files")
    parser.add_argument("--patience", type=int, default=120, metavar="SECONDS",
                        help="how long merging, and the end of the shuffles, may take (120)")
    return parser.parse_args()


def mount_of(directory):
    """The mount that a directory is in: the upper end of its file system."""
    while not os.path.ismount(directory):
        directory = os.path.dirname(directory)
    require(os.path.isdir(os.path.join(directory, "shuffles")), f"{directory} is not a mount of shufflefs")
    return directory


# ---- Spark ----------------------------------------------------------------------------------------------------------


def start_spark(options):
    # The environment would win over the settings below, and another Spark's home over this one's.
    for name in list(os.environ):
        if name.startswith(("SPARK_", "PYSPARK_")):
            del os.environ[name]
    from pyspark.sql import SparkSession  # pylint: disable=import-outside-toplevel

    text_bytes = sum(os.path.getsize(path) for path in options.text)
    settings = {
        "spark.local.dir": options.local_dir,
        "spark.sql.shuffle.partitions": options.partitions,
        # Adaptive execution runs stages as jobs of their own, which makes the shuffle ids a matter of luck.
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.files.maxPartitionBytes": text_bytes // options.maps + 1,
        "spark.sql.files.openCostInBytes": 0,
        "spark.sql.sources.parallelPartitionDiscovery.threshold": len(options.text) + 1,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{HERE}/log4j2.properties",
    }
    builder = SparkSession.builder.master("local[2]").appName(options.app)
    for name, value in settings.items():
        builder = builder.config(name, str(value))
    return builder.getOrCreate()


def stop_spark(spark):
    """Ends Spark and its JVM, which removes the last directories when it exits."""
    gateway = spark.sparkContext._gateway  # pylint: disable=protected-access
    spark.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()


def count_words(spark, options):
    """The sorted counts as a DataFrame that is still to be run, and the number of map tasks of shuffle 0.

    The DataFrame must be kept: when it is collected, Spark removes its shuffles.
    """
    lines = spark.read.text([os.path.abspath(path) for path in options.text])
    words = lines.selectExpr(f"explode(regexp_extract_all(value, '({WORD})', 1)) AS word")
    counts = words.groupBy("word").count()
    return counts.orderBy(counts["count"].desc(), counts["word"]), lines.rdd.getNumPartitions()


def count_words_plainly(paths):
    counts = collections.Counter()
    for path in paths:
        with open(path, "rb") as file:
            counts.update(word.decode() for word in re.findall(WORD.encode(), file.read()))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


# ---- What is in the mount -------------------------------------------------------------------------------------------


def read(path):
    with open(path, "rb") as file:
        return file.read()


def spark_files(local_dir, pattern):
    """{shuffle: {map id: path}} of the files whose name fits."""
    found = collections.defaultdict(dict)
    for directory, _, names in os.walk(local_dir):
        for name in names:
            if match := pattern.fullmatch(name):
                found[int(match[1])][int(match[2])] = os.path.join(directory, name)
    return found


def numbers(content):
    """What Spark's index and checksum files consist of: 8 bytes each, big-endian."""
    return struct.unpack(f">{len(content) // 8}q", content)


def map_outputs(local_dir, shuffle):
    """Each map output as its blocks by partition, straight from Spark's files, checked with Spark's checksums."""
    indexes = spark_files(local_dir, INDEX_FILE)[shuffle]
    data_files = spark_files(local_dir, DATA_FILE)[shuffle]
    checksum_files = spark_files(local_dir, CHECKSUM_FILE)[shuffle]
    outputs = []
    for map_id, index in indexes.items():
        offsets = numbers(read(index))
        data = read(data_files[map_id]) if offsets[-1] else b""  # Spark leaves out empty files
        blocks = [data[begin:end] for begin, end in zip(offsets, offsets[1:])]
        for block, checksum in zip(blocks, numbers(read(checksum_files[map_id])), strict=True):
            require(not block or zlib.adler32(block) == checksum, f"{data_files[map_id]} does not fit its checksums")
        outputs.append(blocks)
    return outputs, sum(map(os.path.getsize, data_files.values()))


def require_exactly(content, blocks, name):
    """That the content is these blocks in any order, each once."""
    expected = sum(map(len, blocks))
    require(len(content) == expected, f"{name} has {len(content)} bytes, Spark wrote {expected}")
    waiting = collections.defaultdict(list)
    for block in blocks:
        if block:
            waiting[block[:BLOCK_HEADER_BYTES]].append(block)
    at = 0
    while at < len(content):
        candidates = waiting[content[at:at + BLOCK_HEADER_BYTES]]
        block = next((block for block in candidates if content.startswith(block, at)), None)
        require(block, f"{name}: at {at} begins no block of those that Spark wrote and that were not there before")
        candidates.remove(block)
        at += len(block)


def check_shuffle(options, mount, shuffle, maps):
    """Waits until a shuffle is merged, and compares its partitions with Spark's files."""
    begin = time.monotonic()
    name = f"{options.app}/{shuffle}"
    done = subprocess.run([options.shufflefs, "wait", name, "--maps", str(maps), "--http", options.http, "--timeout",
                           f"{options.patience}s"], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"shufflefs wait {name} --maps {maps}: code {done.returncode}: "
                                  f"{done.stdout}{done.stderr}".rstrip())
    say(f"  {done.stdout.strip()}, waited {time.monotonic() - begin:.1f} s")

    begin = time.monotonic()
    outputs, wrote = map_outputs(options.local_dir, shuffle)
    require(len(outputs) == maps, f"Spark wrote {len(outputs)} map outputs in shuffle {shuffle}, not {maps}")
    directory = os.path.join(mount, "shuffles", name, "partitions")
    partitions = sorted((entry for entry in os.listdir(directory) if entry.isdigit()), key=int)
    require(len(partitions) == len(outputs[0]),
            f"{directory} has {len(partitions)} partitions, Spark {len(outputs[0])}")
    total = 0
    for partition in partitions:
        path = os.path.join(directory, partition)
        content = read(path)
        require_exactly(content, [blocks[int(partition)] for blocks in outputs], path)
        merged = read(path + ".merged")
        require(merged == content, f"{path}.merged has {len(merged)} of {len(content)} bytes, or others")
        total += len(content)
        if len(partitions) <= 10:
            say(f"    {len(content):10d}  {path}")
    require(total == wrote, f"the partitions of {name} have {total} bytes, Spark's data files {wrote}")
    say(f"  {len(partitions)} partitions, {total} bytes, the same as Spark's {len(outputs)} map outputs: every block "
        f"found once, all merged, checksums right; read in {time.monotonic() - begin:.1f} s")


def wait_for_the_end(options, mount):
    """Spark has unlinked its files: the application must go."""
    begin = time.monotonic()
    while options.app in os.listdir(os.path.join(mount, "shuffles")):
        require(time.monotonic() < begin + options.patience,
                f"{mount}/shuffles still shows {options.app}, {options.patience} s after Spark has stopped")
        time.sleep(0.1)
    say(f"  {mount}/shuffles/{options.app} went {time.monotonic() - begin:.1f} s after Spark had stopped")


# ---- The job --------------------------------------------------------------------------------------------------------


def run(options):
    options.local_dir = os.path.abspath(options.local_dir)
    os.makedirs(options.local_dir, exist_ok=True)
    mount = mount_of(options.local_dir)
    os.setxattr(options.local_dir, "user.shufflefs.app", options.app.encode())

    begin = time.monotonic()
    spark = start_spark(options)
    say(f"Spark {spark.version}, local dir {options.local_dir}, application {options.app}; started in "
        f"{time.monotonic() - begin:.1f} s")
    try:
        begin = time.monotonic()
        result, maps = count_words(spark, options)
        counts = [(row["word"], row["count"]) for row in result.collect()]
        seconds = time.monotonic() - begin
        require(counts == count_words_plainly(options.text), "Spark's counts are not those of plain Python")
        say(f"  counted {sum(count for _, count in counts)} words in {len(options.text)} files, {len(counts)} "
            f"different ones, in {seconds:.1f} s; equal to plain Python's: "
            + ", ".join(f"{word} {count}" for word, count in counts[:3]) + ", ...")
        seen = sorted(spark_files(options.local_dir, INDEX_FILE))
        require(seen == [0, 1], f"Spark made the shuffles {seen}, not 0 and 1")
        check_shuffle(options, mount, 0, maps)
        check_shuffle(options, mount, 1, options.partitions)
    finally:
        if options.job_done:
            with open(options.job_done, "w", encoding="utf-8"):
                time.sleep(3)
        begin = time.monotonic()
        stop_spark(spark)
    say(f"  Spark stopped and removed its files in {time.monotonic() - begin:.1f} s")
    left = os.listdir(options.local_dir)
    require(not left, f"Spark left {left} in {options.local_dir}")
    wait_for_the_end(options, mount)


def main():
    try:
        run(parse_arguments())
    except Wrong as wrong:
        say(f"two_shuffles: FAILED: {wrong}")
        return 1
    say("two_shuffles: all of it held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
