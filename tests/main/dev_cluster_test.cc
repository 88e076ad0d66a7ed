// What the cluster commands do without daemons: the plan, the state file, and clearing up. Real
// daemons: tests/cluster.
#include "main/dev_cluster.h"

#include <sys/mount.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <csignal>

#include "main/mounts.h"
#include "main/temporary_directory.h"

namespace shufflefs {
namespace {

namespace fs = std::filesystem;

void silent(const std::string& /*line*/) {}

}  // namespace

TEST_CASE("dev cluster: the plan and its state survive a file") {
  const TemporaryDirectory directory;
  DevCluster cluster = plan_cluster(directory.path(), 2).value();
  CHECK(cluster.nodes[1].name == "node2");
  CHECK(cluster.nodes[1].address == "127.0.0.12");
  CHECK(members_of(cluster) == "node1=127.0.0.11:7338,node2=127.0.0.12:7338");
  CHECK_FALSE(load_cluster(directory.path()).value().has_value());
  cluster.nodes[0].process = ProcessId{12345, 678};
  REQUIRE(save_cluster(cluster).has_value());
  const auto loaded = load_cluster(directory.path()).value();
  REQUIRE(loaded.has_value());
  CHECK(loaded->nodes[0].process == cluster.nodes[0].process);
  CHECK_FALSE(loaded->nodes[1].process.has_value());
  CHECK(loaded->nodes[1].mount() == directory.path("node2/mnt"));
  directory.write("cluster.json", R"({"nodes":[{"name":"..","address":"x","pid":null}]})");
  CHECK_FALSE(load_cluster(directory.path()).has_value());  // nothing outside of DIR is removed
  directory.write("cluster.json", "{");
  CHECK_FALSE(load_cluster(directory.path()).has_value());
}

TEST_CASE("dev cluster: another first address, which must be a loopback one") {
  const DevCluster cluster = plan_cluster("/x", 3, "127.0.7.254").value();
  CHECK(cluster.nodes[0].address == "127.0.7.254");
  CHECK(cluster.nodes[2].address == "127.0.8.0");
  for (const char* bad : {"10.0.0.1", "127.255.255.254", "::1", "", "node1"})
    CHECK_FALSE(plan_cluster("/x", 3, bad).has_value());
}

TEST_CASE("dev cluster: down ends its own processes only, and removes what up makes") {
  const TemporaryDirectory directory;
  const std::string log = directory.path("log");
  const auto ours = start_detached({"/bin/sleep", "60"}, log).value();
  const auto stopped = start_detached({"/bin/sleep", "60"}, log).value();
  const auto foreign = start_detached({"/bin/sleep", "60"}, log).value();
  fs::remove(log);
  ::kill(stopped.pid, SIGSTOP);

  DevCluster cluster = plan_cluster(directory.path(), 3).value();
  for (const ClusterNode& node : cluster.nodes) {
    directory.make(node.name + "/mnt");
    directory.make(node.name + "/data/local");
    directory.make(node.name + "/log");
  }
  cluster.nodes[0].process = ours;
  cluster.nodes[1].process = stopped;
  cluster.nodes[2].process =
      ProcessId{foreign.pid, foreign.start_time - 1};  // the pid was recycled
  REQUIRE(save_cluster(cluster).has_value());
  // Of an earlier, larger cluster, and somebody's own.
  directory.make("node9/log");
  directory.write("node9/log/serve.log", "x");
  directory.make("node10");
  directory.write("node10/notes", "x");

  REQUIRE(cluster_down(directory.path(), false, silent).value());
  CHECK_FALSE(is_alive(ours));
  CHECK_FALSE(is_alive(stopped));
  CHECK(is_alive(foreign));
  send_signal(foreign, SIGKILL);
  CHECK_FALSE(fs::exists(directory.path("node1")));
  CHECK_FALSE(fs::exists(directory.path("node9")));
  CHECK_FALSE(fs::exists(directory.path("cluster.json")));
  CHECK(fs::exists(directory.path("node10/notes")));

  fs::remove_all(directory.path("node10"));
  CHECK_FALSE(cluster_down(directory.path(), false, silent).value());
  CHECK_FALSE(fs::exists(directory.path()));
  CHECK_FALSE(cluster_down(directory.path(), false, silent).value());
}

TEST_CASE("dev cluster: down keeps data and logs where that is asked") {
  const TemporaryDirectory directory;
  const DevCluster cluster = plan_cluster(directory.path(), 1).value();
  directory.make("node1/mnt");
  directory.make("node1/data");
  directory.make("node1/log");
  directory.write("node1/data/block", "x");
  REQUIRE(save_cluster(cluster).has_value());
  REQUIRE(cluster_down(directory.path(), true, silent).value());
  CHECK(fs::exists(directory.path("node1/data/block")));
  CHECK_FALSE(fs::exists(directory.path("node1/mnt")));
  CHECK_FALSE(fs::exists(directory.path("cluster.json")));
}

TEST_CASE("dev cluster: down unmounts what is left, however often it is mounted") {
  if (::geteuid() != 0) SKIP("mounting needs root");
  const TemporaryDirectory directory;
  const std::string mount = directory.make("node1/mnt");
  for (int i = 0; i < 2; ++i) {
    if (::mount("none", mount.c_str(), "tmpfs", 0, nullptr) != 0)
      SKIP("mounting is not permitted here");
  }
  directory.write("node1/mnt/precious", "x");
  CHECK(mounted_at(fs::canonical(mount).string())->type == "tmpfs");
  REQUIRE(save_cluster(plan_cluster(directory.path(), 1).value()).has_value());
  REQUIRE(cluster_down(directory.path(), false, silent).value());
  CHECK(mounts_below(directory.path()).empty());
  CHECK_FALSE(fs::exists(directory.path()));
}

TEST_CASE("dev cluster: two commands on one directory exclude each other") {
  const TemporaryDirectory directory;
  const auto lock = lock_cluster(directory.path(), true);
  REQUIRE(lock.has_value());
  const auto down = cluster_down(directory.path(), false, silent);
  REQUIRE_FALSE(down.has_value());
  CHECK(down.error().code == Code::kExists);
  CHECK_FALSE(
      cluster_up({.directory = directory.path(), .nodes = 1, .leave_down = {}, .extra_flags = {}},
                 silent)
          .has_value());
}

}  // namespace shufflefs
