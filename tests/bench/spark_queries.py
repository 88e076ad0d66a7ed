"""The queries of scripts/bench spark --queries."""

import shutil
import tempfile

# What the shuffle reads and writes, and what the processors are asked for. Each answers with few rows.
QUERIES = {
    "wide join": ("I/O", "select count(*), sum(length(a.v)), sum(length(b.v)) from wide a join wide b on a.k = b.id"),
    "wide sort": ("I/O", "select count(*), sum(r * length(v)) from (select v, row_number() over (partition by k % 5000 order by v) r from wide)"),
    "orders": ("I/O", "select n, count(*), sum(p) from (select a.k % 25 n, a.id o, sum(b.id % 1000) p, max(b.v) v from wide a "
                      "join wide b on a.id = b.k group by 1, 2) group by n order by n"),
    "digests": ("CPU", "select k % 1000 g, count(*), max({digest}) from wide group by 1 order by 1"),
    "windows": ("CPU", "select count(*), sum(a), sum(b) from (select avg(k) over (partition by id % 2000 order by id rows between 300 preceding "
                       "and current row) a, max(k) over (partition by id % 2000 order by id rows between 300 preceding and current row) b from thin)"),
    "1000 x 200 x 200 B": ("small", "select count(*), sum(id % 7) from (select /*+ repartition(200, k) */ id, k from many)"),
    "ten joins": ("small", "select count(*), sum(t0.k) from small t0 "
                  + " ".join(f"join small t{n} on t{n - 1}.k = t{n}.id" for n in range(1, 11))),
    "50 micro-batches": ("small", None),
}
BATCHES = 50
DIGEST = "sha2(concat('4', sha2(concat('3', sha2(concat('2', sha2(concat('1', v), 512)), 512)), 512)), 512)"


def make_tables(session, rows, maps):
    """wide: rows of about 220 bytes that do not compress; thin: of two numbers."""
    key = f"pmod(xxhash64(id, 7), {rows}) as k"
    wide = session.range(0, rows, 1, maps).selectExpr("id", key, "concat(sha2(cast(id as string), 512), sha2(cast(-id as string), 256)) as v")
    wide.createOrReplaceTempView("wide")
    session.range(0, rows, 1, maps).selectExpr("id", key).createOrReplaceTempView("thin")
    session.range(0, 1_600_000, 1, 1000).selectExpr("id", "xxhash64(id) as k").createOrReplaceTempView("many")
    session.range(0, 4000, 1, 8).selectExpr("id", "pmod(xxhash64(id), 4000) as k").createOrReplaceTempView("small")


def stream(session):
    """Counts by key, over a directory that is read one file a batch."""
    place = tempfile.mkdtemp(prefix="shufflefs-stream-", dir="/dev/shm")
    try:
        session.range(0, BATCHES * 2000, 1, BATCHES).selectExpr("id", "id % 50 as k").write.json(f"{place}/in")
        counts = session.readStream.schema("id long, k long").option("maxFilesPerTrigger", 1).json(f"{place}/in").groupBy("k").count()
        query = (counts.writeStream.format("memory").queryName("counts").outputMode("complete").option("checkpointLocation", f"{place}/state")
                 .trigger(availableNow=True).start())
        query.awaitTermination()
        batches = len({progress["batchId"] for progress in query.recentProgress if progress["numInputRows"]})
        if batches != BATCHES:
            raise SystemExit(f"{batches} batches of {BATCHES}")
        return session.sql("select count(*), sum(count), sum(k * count) from counts").collect()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def ask(session, name):
    text = QUERIES[name][1]
    rows = session.sql(text.format(digest=DIGEST)).collect() if text else stream(session)
    return [[str(value) for value in row] for row in rows]
