"""The queries of scripts/bench spark --queries."""

# What the shuffle reads and writes, and what the processors are asked for. Each answers with few rows.
QUERIES = {
    "wide join": ("I/O", "select count(*), sum(length(a.v)), sum(length(b.v)) from wide a join wide b on a.k = b.id"),
    "wide sort": ("I/O", "select count(*), sum(r * length(v)) from (select v, row_number() over (partition by k % 5000 order by v) r from wide)"),
    "orders": ("I/O", "select n, count(*), sum(p) from (select a.k % 25 n, a.id o, sum(b.id % 1000) p, max(b.v) v from wide a "
                      "join wide b on a.id = b.k group by 1, 2) group by n order by n"),
    "digests": ("CPU", "select k % 1000 g, count(*), max({digest}) from wide group by 1 order by 1"),
    "windows": ("CPU", "select count(*), sum(a), sum(b) from (select avg(k) over (partition by id % 2000 order by id rows between 300 preceding "
                       "and current row) a, max(k) over (partition by id % 2000 order by id rows between 300 preceding and current row) b from thin)"),
}
DIGEST = "sha2(concat('4', sha2(concat('3', sha2(concat('2', sha2(concat('1', v), 512)), 512)), 512)), 512)"


def make_tables(session, rows, maps):
    """wide: rows of about 220 bytes that do not compress; thin: of two numbers."""
    key = f"pmod(xxhash64(id, 7), {rows}) as k"
    wide = session.range(0, rows, 1, maps).selectExpr("id", key, "concat(sha2(cast(id as string), 512), sha2(cast(-id as string), 256)) as v")
    wide.createOrReplaceTempView("wide")
    session.range(0, rows, 1, maps).selectExpr("id", key).createOrReplaceTempView("thin")


def ask(session, name):
    rows = session.sql(QUERIES[name][1].format(digest=DIGEST)).collect()
    return [[str(value) for value in row] for row in rows]
