// The cluster as one node sees it, as JSON (docs/openapi.yaml, Cluster): the members with their
// health and what each reports of itself (main/node_report.h), the shuffles summed over the
// reports, and the newest events of all nodes.
//
// Threads: reactor. Ownership: the referred-to parts outlive it. Bound: up to kMostNodes members
// are asked, all at the same time, each within the peer timeout; with more, only this node is. One
// answer serves everybody who asks within kFresh.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "main/node_report.h"

namespace shufflefs {

class ClusterView {
 public:
  static constexpr std::size_t kMostNodes = 200;
  static constexpr std::size_t kMostShuffles = 200;
  static constexpr std::size_t kMostEvents = 200;
  static constexpr auto kFresh = std::chrono::milliseconds(500);

  ClusterView(Runtime& runtime, merge::Engine& engine, merge::Cluster& cluster, NodeReport& report)
      : runtime_(runtime), engine_(engine), cluster_(cluster), report_(report) {}

  [[nodiscard]] Task<std::string> text();

 private:
  using Reports = std::vector<std::pair<merge::NodeName, Result<std::string>>>;
  [[nodiscard]] Task<Reports> ask();

  Runtime& runtime_;
  merge::Engine& engine_;
  merge::Cluster& cluster_;
  NodeReport& report_;
  bool asking_ = false;
  TimePoint asked_at_{};
  std::optional<std::string> last_;
};

// The pure part, for tests. Reports that are no JSON object count as not given.
[[nodiscard]] boost::json::object cluster_json(
    const merge::NodeName& self, const std::vector<merge::PeerHealth>& members,
    const std::vector<std::pair<merge::NodeName, Result<std::string>>>& reports);

}  // namespace shufflefs
