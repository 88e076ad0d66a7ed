"""Tables and queries after TPC-H, small: joins, aggregations, windows, skew. Integers and decimals only, every result in a total
order, so that two runs can be compared row by row.

As a program: answers all queries with Spark in one process and its own shuffle, and writes {query: rows} as JSON.
"""

import argparse
import json
import os
import subprocess
import sys

TABLES = {
    "nation": "select cast(id as int) as n_nationkey, concat('nation', id) as n_name, cast(id % 5 as int) as n_regionkey from range(25)",
    "supplier": "select id as s_suppkey, cast(pmod(xxhash64(id, 1), 25) as int) as s_nationkey, cast(pmod(xxhash64(id, 2), 10000) as int) as s_acctbal "
                "from range({scale} * 10)",
    "customer": "select id as c_custkey, cast(pmod(xxhash64(id, 3), 25) as int) as c_nationkey, concat('segment', pmod(xxhash64(id, 4), 5)) as c_mktsegment, "
                "cast(pmod(xxhash64(id, 5), 10000) as int) as c_acctbal from range({scale} * 150)",
    "part": "select id as p_partkey, concat('brand', pmod(xxhash64(id, 6), 25)) as p_brand, cast(pmod(xxhash64(id, 7), 50) as int) as p_size "
            "from range({scale} * 200)",
    # A tenth of the orders are one customer's: skew.
    "orders": "select id as o_orderkey, if(pmod(xxhash64(id, 8), 10) = 0, 7, pmod(xxhash64(id, 9), {scale} * 150)) as o_custkey, "
              "date_add(date'1992-01-01', cast(pmod(xxhash64(id, 10), 2400) as int)) as o_orderdate, "
              "cast(pmod(xxhash64(id, 11), 100000) as bigint) as o_totalprice from range(0, {scale} * 1500, 1, 4)",
    "lineitem": "select pmod(xxhash64(id, 12), {scale} * 1500) as l_orderkey, pmod(xxhash64(id, 13), {scale} * 200) as l_partkey, "
                "pmod(xxhash64(id, 14), {scale} * 10) as l_suppkey, cast(pmod(xxhash64(id, 15), 50) as int) as l_quantity, "
                "cast(pmod(xxhash64(id, 16), 100000) as decimal(12, 2)) as l_extendedprice, cast(pmod(xxhash64(id, 17), 11) as int) as l_discount, "
                "concat('', pmod(xxhash64(id, 18), 3)) as l_returnflag, date_add(date'1992-01-01', cast(pmod(xxhash64(id, 19), 2500) as int)) as l_shipdate "
                "from range(0, {scale} * 6000, 1, 5)",
}

QUERIES = {
    "pricing": "select l_returnflag, sum(l_quantity) q, sum(l_extendedprice) p, count(*) c from lineitem group by l_returnflag order by 1",
    "priority": "select o_orderdate, c_mktsegment, sum(l_extendedprice * (100 - l_discount)) r from customer join orders on c_custkey = o_custkey "
                "join lineitem on l_orderkey = o_orderkey where o_orderdate < date'1992-02-01' group by 1, 2 order by 3 desc, 1, 2 limit 50",
    "volume": "select n_name, sum(l_extendedprice) r from customer join orders on c_custkey = o_custkey join lineitem on l_orderkey = o_orderkey "
              "join supplier on l_suppkey = s_suppkey and c_nationkey = s_nationkey join nation on s_nationkey = n_nationkey group by 1 order by 1",
    "returned": "select c_custkey, c_acctbal, sum(l_extendedprice) r from customer join orders on c_custkey = o_custkey join lineitem on "
                "l_orderkey = o_orderkey where l_returnflag = '1' group by 1, 2 order by 3 desc, 1 limit 20",
    "brands": "select p_brand, count(distinct l_suppkey) s, sum(l_quantity) q from lineitem join part on l_partkey = p_partkey where p_size < 20 "
              "group by 1 order by 1",
    "no_orders": "select c_nationkey, count(*) c, sum(c_acctbal) b from customer left anti join orders on "
                 "c_custkey = o_custkey and o_totalprice < 20000 group by 1 order by 1",
    "counts": "select orders, count(*) customers from (select c_custkey, count(o_orderkey) orders from customer left join orders on "
              "c_custkey = o_custkey group by 1) group by 1 order by 1",
    "ranks": "select * from (select o_custkey, o_orderkey, rank() over (partition by o_custkey order by o_totalprice desc, o_orderkey) r from orders) "
             "where r <= 2 and o_custkey % 50 = 7 order by 1, 3",
    "running": "select max(total), min(total), count(*) from (select sum(o_totalprice) over (partition by o_custkey order by o_orderdate, o_orderkey) "
               "total from orders)",
    "skew": "select c_mktsegment, count(*) c, sum(l_quantity) q from lineitem join orders on l_orderkey = o_orderkey join customer on "
            "o_custkey = c_custkey group by 1 order by 1",
    "above_average": "select count(*), sum(l_quantity) from lineitem join (select l_partkey k, avg(l_quantity) a from lineitem group by 1) on "
                     "l_partkey = k where l_quantity > a",
    "sorted": "select o_orderkey, o_totalprice from orders where o_totalprice % 37 = 0 order by o_totalprice desc, o_orderkey limit 200",
    "rollup": "select year(o_orderdate) y, month(o_orderdate) m, count(*) c, sum(o_totalprice) t from orders group by rollup(1, 2) order by 1, 2",
}


def make_tables(session, scale):
    for name, query in TABLES.items():
        session.sql(query.format(scale=scale)).createOrReplaceTempView(name)


def answer(session, name):
    return [[str(value) for value in row] for row in session.sql(QUERIES[name]).collect()]


def stock_answers(scale, directory):
    """{query: rows} of stock Spark, in a process of its own."""
    path = os.path.join(directory, "expected.json")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    subprocess.run([sys.executable, __file__, "--scale", str(scale), "--output", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env=environment, check=True)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, required=True)
    parser.add_argument("--output", required=True)
    options = parser.parse_args()
    from pyspark.sql import SparkSession  # pylint: disable=import-outside-toplevel,import-error
    session = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
               .config("spark.sql.shuffle.partitions", "4").config("spark.sql.ansi.enabled", "false").getOrCreate())
    make_tables(session, options.scale)
    with open(options.output, "w", encoding="utf-8") as file:
        json.dump({name: answer(session, name) for name in QUERIES}, file)
    session.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
