// What a node says of itself, as JSON (docs/openapi.yaml, NodeReport): for its own status, and for
// every other node that shows the cluster, which asks by NodeApi::report.
//
//   about "node"                                the whole report
//   about "sizes APP/SHUFFLE FIRST CELLS WIDTH" how large the partitions are, as far as it knows
//
// Threads: reactor. Ownership: the referred-to parts outlive it; close() before they stop. Waits: a
// hanging disk makes the report old after two seconds, and not late ("current": false). Cost:
// disks, mount and shuffles are looked at once a second, however many ask. Bound: kMostShuffles,
// kMostEvents, and merge::kMaxReportBytes, to which it is shortened.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <optional>
#include <string>

#include "base/gate.h"
#include "base/memory_budget.h"
#include "main/disk_spaces.h"
#include "main/mount_probe.h"
#include "main/settings.h"
#include "merge/engine.h"
#include "net/ess/server.h"
#include "net/peer_metrics.h"

namespace shufflefs {

class NodeReport {
 public:
  static constexpr std::size_t kMostShuffles = 200;
  static constexpr std::size_t kMostEvents = 60;

  struct Parts {
    const Settings& settings;
    Runtime& runtime;
    merge::Engine& engine;
    merge::Cluster& cluster;
    const MemoryBudget& memory;
    Metrics& metrics;
    uint32_t workers;  // that have served the mount, this one included
    DiskSpaces& disks;
    MountProbe& probe;
  };
  explicit NodeReport(Parts parts);

  // If Spark is served.
  void show_spark(std::function<net::ess::EssStatus()> status) { spark_ = std::move(status); }

  // Ends what is under way.
  [[nodiscard]] Task<void> close() { return gate_.close(); }

  // NodeApi::report of this node.
  [[nodiscard]] Task<Result<std::string>> answer(std::string about);
  [[nodiscard]] Task<boost::json::object> node();

  // What this node is, without asking anything that could wait: the beginning of node() and of the
  // status.
  [[nodiscard]] boost::json::object identity() const;
  [[nodiscard]] boost::json::array disks() const;
  [[nodiscard]] boost::json::value spark() const;
  [[nodiscard]] uint64_t used_bytes() const { return parts_.memory.used_bytes(); }

 private:
  [[nodiscard]] boost::json::object counts() const;
  [[nodiscard]] boost::json::array traffic() const;
  [[nodiscard]] Task<Result<std::string>> sizes(std::string about);
  // Asks the disks, the mount and every shuffle anew, which a hanging disk can make last.
  [[nodiscard]] Task<void> look();

  Parts parts_;
  net::PeerMetrics peer_metrics_;
  const TimePoint start_;
  std::function<net::ess::EssStatus()> spark_;

  // What was seen at the last look.
  bool looking_ = false;
  std::optional<TimePoint> looked_at_;
  Status mounted_ = make_error(Code::kMount, "the mount has not been looked at yet");
  boost::json::array shuffles_;
  std::size_t shuffles_left_out_ = 0;
  Gate gate_;
};

}  // namespace shufflefs
