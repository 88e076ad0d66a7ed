// The API's JSON as structs: what status and wait look at. Missing or odd members read as zero or
// empty, so that a client and a node of different versions still understand most of each other.
// Values; any thread.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace shufflefs {

struct GivenUpView {
  std::string node;
  std::string reason;
  uint64_t chunks = 0;
  uint64_t blocks = 0;
  uint64_t bytes = 0;
};

struct UnreachableView {
  std::string node;
  std::string reason;
};

struct ShuffleView {
  std::string app;
  uint64_t shuffle = 0;
  uint64_t partitions = 0;
  uint64_t maps = 0;
  uint64_t maps_settled = 0;
  uint64_t maps_given_up = 0;
  uint64_t maps_unpushed = 0;
  uint64_t maps_lost = 0;
  uint64_t bytes = 0;
  uint64_t blocks_left_home = 0;
  uint64_t bytes_left_home = 0;
  uint64_t merged_partitions = 0;
  uint64_t merged_blocks = 0;
  uint64_t merged_bytes = 0;
  uint64_t duplicate_blocks = 0;
  std::vector<GivenUpView> given_up;
  std::vector<std::string> refused_commits;
  std::vector<UnreachableView> unreachable;
};

struct PeerView {
  std::string name;
  std::string address;
  bool self = false;
  bool up = false;
  std::string reason;
  double round_trip_ms = 0;
};

// A node that has another list of members.
struct DifferenceView {
  std::string node;
  std::vector<std::string> missing_here;
  std::vector<std::string> missing_there;
};

struct DiskView {
  std::string name;
  std::string path;
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
};

struct SparkView {
  std::string listen;  // empty: off
  bool authentication = false;
  uint64_t connections = 0;
  uint64_t streams = 0;
  uint64_t applications = 0;
  uint64_t executors = 0;
};

struct StatusView {
  std::string node;
  std::string version;
  std::string mount;
  double uptime_s = 0;
  uint64_t memory_budget_bytes = 0;
  uint64_t memory_used_bytes = 0;
  std::vector<DiskView> disks;
  uint64_t members = 0;
  std::vector<DifferenceView> differences;
  std::vector<PeerView> peers;
  SparkView spark;
  std::vector<ShuffleView> shuffles;
};

[[nodiscard]] ShuffleView shuffle_view(const boost::json::value& value);
[[nodiscard]] StatusView status_view(const boost::json::value& value);
// "n2 does not know n5 and n6; this node does not know n7".
[[nodiscard]] std::string to_string(const DifferenceView& difference);
// "node3 (connection refused)"; the reason alone if it names the node itself.
[[nodiscard]] std::string to_string(const UnreachableView& node);

}  // namespace shufflefs
