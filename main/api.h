// What the daemon tells people and scripts: the JSON of /api/v1/... (docs/openapi.yaml), /metrics,
// the page at /, and the files of .shufflefs/. Read-only but for POST and DELETE.
//
//   GET    /                                  the page (main/page/), embedded by the build
//   GET    /api/v1/status                     this node, and the shuffles summed over all nodes
//   GET    /api/v1/cluster                    all nodes (main/cluster_view.h)
//   GET    /api/v1/events                     the last events of this node
//   GET    /api/v1/clock                      {"unix_ms": ...}, for the doctor
//   GET    /api/v1/shuffles/<app>/<shuffle>   one shuffle, summed over all nodes (404 if unknown)
//   GET    /api/v1/shuffles/<app>/<shuffle>/partitions[?first=&count=&cells=]  their sizes
//   DELETE /api/v1/shuffles/<app>[/<shuffle>] drops it on all nodes
//   GET, POST, DELETE /api/v1/drain           how far it is; begins it; ends it
//   DELETE /api/v1/members/<name>             a member is gone for good (409 while it answers)
//   GET, POST /api/v1/log-level[?level=]      how much is logged; changes it
//   GET    /healthz  200 as long as the process answers
//   GET    /readyz   200 if a stat and a read through the mount came back in time, else 503 and why
//   GET    /metrics
//
// Threads: reactor. Ownership: the references outlive it. Cost: a shuffle's sum asks every member.
#pragma once

#include <boost/json/value.hpp>
#include <functional>

#include "base/file_io.h"
#include "base/log.h"
#include "base/memory_budget.h"
#include "fs/virtual_contents.h"
#include "main/cluster_view.h"
#include "main/local_access.h"
#include "main/mounts.h"
#include "main/node_metrics.h"
#include "main/node_report.h"
#include "main/settings.h"
#include "merge/engine.h"
#include "net/admin_http.h"
#include "net/ess/server.h"
#include "net/membership.h"

namespace shufflefs {

class Api {
 public:
  struct Parts {
    const Settings& settings;
    Runtime& runtime;
    merge::Engine& engine;
    net::Membership& membership;
    MemoryBudget& memory;
    Metrics& metrics;
    FileIo& io;
    uint32_t workers;  // that have served the mount, this one included
    const LocalAccess& local;
  };
  explicit Api(Parts parts);

  // Before add_routes(), if Spark is served.
  void show_spark(std::function<net::ess::EssStatus()> status) {
    report_.show_spark(std::move(status));
  }
  // `on_log_level` is called on the reactor after each change, so that it can be kept for the next
  // worker. kConfig if the token file cannot be used.
  [[nodiscard]] Status add_routes(net::AdminHttp& http, std::function<void(LogLevel)> on_log_level);
  [[nodiscard]] fs::InfoTexts info_texts();
  // Ends what is under way for other nodes.
  [[nodiscard]] Task<void> stop() { return report_.close(); }

 private:
  using Answer = Task<net::HttpAnswer>;
  struct Route;

  [[nodiscard]] Task<boost::json::value> status();
  [[nodiscard]] Task<std::string> status_text();
  [[nodiscard]] Task<std::string> metrics_text();
  [[nodiscard]] Answer answer_status(net::HttpQuestion question);
  [[nodiscard]] Answer answer_cluster(net::HttpQuestion question);
  [[nodiscard]] Answer answer_events(net::HttpQuestion question);
  [[nodiscard]] Answer answer_clock(net::HttpQuestion question);
  [[nodiscard]] Answer answer_shuffles(net::HttpQuestion question);
  [[nodiscard]] Answer answer_shuffle(merge::ShuffleKey key);
  [[nodiscard]] Answer answer_drain(net::HttpQuestion question);
  [[nodiscard]] Answer answer_members(net::HttpQuestion question);
  [[nodiscard]] Answer answer_log_level(net::HttpQuestion question);
  [[nodiscard]] Answer answer_metrics(net::HttpQuestion question);
  [[nodiscard]] Answer answer_ready(net::HttpQuestion question);
  [[nodiscard]] Answer answer_health(net::HttpQuestion question);
  [[nodiscard]] Answer answer_page(net::HttpQuestion question);
  [[nodiscard]] Answer drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle);

  Parts parts_;
  DiskSpaces disks_;
  MountProbe probe_;
  NodeReport report_;
  ClusterView cluster_view_;
  std::function<void(LogLevel)> on_log_level_;
};

}  // namespace shufflefs
