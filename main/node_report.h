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
#include <boost/json/value.hpp>
#include <functional>
#include <optional>
#include <string>

#include "base/gate.h"
#include "base/memory_budget.h"
#include "base/recent_events.h"
#include "main/local_access.h"
#include "main/mounts.h"
#include "main/node_metrics.h"
#include "main/settings.h"
#include "merge/catalog.h"
#include "merge/engine.h"
#include "net/ess/server.h"
#include "net/peer_metrics.h"

namespace shufflefs {

// ---- JSON of the API (docs/openapi.yaml) ----

[[nodiscard]] boost::json::object given_up_json(const merge::GivenUp& entry);
// Summed over all nodes.
[[nodiscard]] boost::json::value shuffle_json(const merge::ShuffleTotals& totals);
// Of one node: the same without "unreachable", and given_up without "node".
[[nodiscard]] boost::json::value shuffle_json(const merge::ShuffleKey& shuffle,
                                              const merge::ShuffleInfo& info);
// How many there are, and whose lists have been others for more than a few seconds.
[[nodiscard]] boost::json::value members_json(const merge::Cluster& cluster);
[[nodiscard]] boost::json::value peer_json(const merge::PeerHealth& peer);
// Texts are cut at `most_bytes`.
[[nodiscard]] boost::json::value event_json(const RecentEvent& event, std::size_t most_bytes);
[[nodiscard]] boost::json::value spark_json(const net::ess::EssStatus& status);

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
    const LocalAccess& local;
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
