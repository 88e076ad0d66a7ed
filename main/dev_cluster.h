// The development cluster: real daemons on this machine, each on a loopback address of its own.
// This file knows what belongs to it (names, addresses, directories, processes) and keeps that in
// DIR/cluster.json.
//
//   DIR/cluster.json   DIR/node1/mnt   DIR/node1/data   DIR/node1/log/serve.log   DIR/node2/...
//
// One thread. A process is known by pid and start time, so that a recycled pid is never signalled.
// Two commands on one DIR exclude each other by a lock on DIR itself.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "main/process.h"

namespace shufflefs {

inline constexpr uint16_t kPeerPort = 7338;
inline constexpr uint16_t kSparkPort = 7337;
inline constexpr uint16_t kHttpPort = 7340;
inline constexpr unsigned kMaxClusterNodes = 200;
inline constexpr std::string_view kFirstAddress = "127.0.0.11";

struct ClusterNode {
  std::string name;
  std::string address;
  std::string directory;
  std::optional<ProcessId> process;  // nothing: left down on purpose, or not started yet

  [[nodiscard]] std::string mount() const { return directory + "/mnt"; }
  [[nodiscard]] std::string data() const { return directory + "/data"; }
  [[nodiscard]] std::string log() const { return directory + "/log"; }
  [[nodiscard]] std::string log_file() const { return directory + "/log/serve.log"; }
};

struct DevCluster {
  std::string directory;  // canonical
  std::vector<ClusterNode> nodes;

  [[nodiscard]] std::string state_file() const { return directory + "/cluster.json"; }
};

// node1 on the first address, the others on those that follow. REQUIRES: 1 <= count <=
// kMaxClusterNodes.
[[nodiscard]] Result<DevCluster> plan_cluster(const std::string& directory, unsigned count,
                                              std::string_view first_address = kFirstAddress);
[[nodiscard]] bool is_node_name(std::string_view name);  // as the plan makes them
[[nodiscard]] std::string members_of(const DevCluster& cluster);

// Nothing where there is no cluster.json; an error where it cannot be understood.
[[nodiscard]] Result<std::optional<DevCluster>> load_cluster(const std::string& directory);
[[nodiscard]] Status save_cluster(const DevCluster& cluster);
// {"nodes": [...]}: what --json prints, and what cluster.json holds.
[[nodiscard]] boost::json::value cluster_json(const DevCluster& cluster);

// Makes DIR and locks it until the descriptor is closed.
[[nodiscard]] Result<Fd> lock_cluster(const std::string& directory, bool make_it);

// What the node says of itself; an error with the reason if it is not up.
[[nodiscard]] Status check_node(const ClusterNode& node);

// The last lines of its log.
[[nodiscard]] std::string log_tail(const ClusterNode& node, std::size_t lines);

// A line about what is being done, for the person who waits.
using Say = std::function<void(const std::string&)>;

struct UpOptions {
  std::string directory;
  unsigned nodes = 3;
  std::string first_address{kFirstAddress};
  std::vector<std::string> leave_down;   // members that are listed but not started
  std::vector<std::string> extra_flags;  // for every daemon
  std::chrono::milliseconds patience = std::chrono::seconds(30);
};

// Returns when every node that was started answers; otherwise takes everything down again and says
// why.
[[nodiscard]] Result<DevCluster> cluster_up(const UpOptions& options, const Say& say);

// Stops what runs, unmounts what is mounted, and removes what up has made (data and logs only
// without `keep`). Idempotent; works from what it finds, also without cluster.json. Returns whether
// there was anything.
[[nodiscard]] Result<bool> cluster_down(const std::string& directory, bool keep, const Say& say);

// The part of down that up needs for what a crash has left: processes and mounts.
[[nodiscard]] Status stop_and_unmount(const DevCluster& cluster, const Say& say);

}  // namespace shufflefs
