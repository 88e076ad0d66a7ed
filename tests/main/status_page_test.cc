#include <boost/json/parse.hpp>
#include <catch2/catch_test_macros.hpp>

#include "main/pages.h"

namespace shufflefs {

TEST_CASE("status page: everything that an operator looks for, without colour off a terminal") {
  const boost::json::value view = boost::json::parse(R"({
    "node": "node1", "version": "0.1.0", "uptime_s": 130.5, "mount": "/m",
    "local_mode": "bind", "local_mode_reason": "as configured",
    "disks": [{"name": "disk0", "path": "/d", "total_bytes": 2048, "free_bytes": 1024}],
    "memory": {"budget_bytes": 1048576, "used_bytes": 512},
    "members": {"count": 3, "differences": [{"node": "node2", "missing_here": ["node5"], "missing_there": ["node3", "node4"]}]},
    "peers": [{"name": "node1", "address": "127.0.0.11:7338", "self": true, "up": true, "reason": "", "round_trip_ms": 0},
              {"name": "node2", "address": "127.0.0.12:7338", "self": false, "up": true, "round_trip_ms": 0.25},
              {"name": "node3", "address": "127.0.0.13:7338", "self": false, "up": false, "reason": "connection refused"}],
    "spark": {"listen": "0.0.0.0:7337", "authentication": true, "connections": 3, "streams": 2, "applications": 1, "executors": 4},
    "shuffles": [{"app": "wordcount", "shuffle": 0, "partitions": 4, "maps": 4, "maps_settled": 3, "maps_given_up": 1, "maps_lost": 2,
                  "bytes": 1048576, "merged_bytes": 2097152, "merged_partitions": 2,
                  "given_up": [{"node": "node1", "reason": "owner node3: connection refused", "blocks": 2, "bytes": 10}]}]})");
  CHECK(status_page(view, Terminal::plain()) ==
        "node1 (shufflefs 0.1.0), up for 2 min, mounted at /m\n"
        "local/: bind (as configured)\n"
        "Memory: 512 B of 1.0 MiB in use\n"
        "\n"
        "Peers\n"
        "  node1  127.0.0.11:7338  up    this node\n"
        "  node2  127.0.0.12:7338  up    0.2 ms\n"
        "  node3  127.0.0.13:7338  down  connection refused\n"
        "  lists differ: node2 does not know node3, node4; this node does not know node5, which "
        "node2 knows\n"
        "\n"
        "Disks\n"
        "  disk0  /d  1.0 KiB free of 2.0 KiB\n"
        "\n"
        "Spark's shuffle service\n"
        "  0.0.0.0:7337 (with authentication): 4 executors of 1 applications, 3 connections, 2 "
        "requests open\n"
        "\n"
        "Shuffles\n"
        "  SHUFFLE      MAPS  MAPS MERGED  PARTITIONS  MAP BYTES  MERGED                   LEFT AT "
        "ORIGIN\n"
        "  wordcount/0  4      75 %        4           1.0 MiB    2.0 MiB in 2 partitions  -\n"
        "  gave up wordcount/0: node1: 2 blocks (10 B) will not be merged: owner node3: connection "
        "refused\n"
        "  lost at origin wordcount/0: 2 map outputs; only merged copies can be read\n");
}

TEST_CASE("status page: an answer of another version is still shown") {
  const boost::json::value odd =
      boost::json::parse(R"({"node": 5, "peers": {}, "shuffles": [7], "uptime_s": "x"})");
  for (const boost::json::value& answer : {boost::json::parse("[1]"), odd})
    CHECK_FALSE(status_page(answer, Terminal::plain()).empty());
  CHECK(View(odd).list("shuffles").size() == 1);
  CHECK(View(odd).text("node").empty());
  CHECK(View(odd).list("peers").empty());
  CHECK(View(odd).real("uptime_s") == 0);
}

}  // namespace shufflefs
