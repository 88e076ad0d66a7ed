// What the daemon tells people and scripts: the JSON of /api/v1/... (docs/openapi.yaml), /metrics,
// the page at /, and the files of .shufflefs/. Read-only but for DELETE, which drops.
//
//   GET    /                                  the page (main/page/)
//   GET    /api/v1/status                     this node, and the shuffles summed over all nodes
//   GET    /api/v1/cluster                    all nodes (main/cluster_view.h)
//   GET    /api/v1/events                     the last events of this node
//   GET    /api/v1/shuffles/<app>/<shuffle>   one shuffle, summed over all nodes (404 if nobody
//                                             knows it)
//   GET    /api/v1/shuffles/<app>/<shuffle>/partitions[?first=&count=&cells=]  their sizes
//   DELETE /api/v1/shuffles/<app>[/<shuffle>] drops it on all nodes
//   GET    /healthz  200 as long as the process answers
//   GET    /readyz   200 if a stat and a read through the mount came back in time, else 503 and why
//   GET    /metrics
//
// Threads: reactor. Ownership: the references outlive it. Cost: a shuffle's sum asks every member.
#pragma once

#include <boost/json/value.hpp>
#include <functional>

#include "base/file_io.h"
#include "base/memory_budget.h"
#include "fs/virtual_contents.h"
#include "main/cluster_view.h"
#include "main/disk_spaces.h"
#include "main/mount_probe.h"
#include "main/node_report.h"
#include "main/settings.h"
#include "merge/engine.h"
#include "net/admin_http.h"
#include "net/ess/server.h"

namespace shufflefs {

class Api {
 public:
  struct Parts {
    const Settings& settings;
    Runtime& runtime;
    merge::Engine& engine;
    merge::Cluster& cluster;
    MemoryBudget& memory;
    Metrics& metrics;
    FileIo& io;
    uint32_t workers;  // that have served the mount, this one included
  };
  explicit Api(Parts parts);

  // Before add_routes(), if Spark is served.
  void show_spark(std::function<net::ess::EssStatus()> status) {
    report_.show_spark(std::move(status));
  }
  // kConfig if the token file cannot be used.
  [[nodiscard]] Status add_routes(net::AdminHttp& http);
  [[nodiscard]] fs::InfoTexts info_texts();
  // Ends what is under way for other nodes.
  [[nodiscard]] Task<void> stop() { return report_.close(); }

 private:
  using Answer = Task<net::HttpAnswer>;

  [[nodiscard]] Task<boost::json::value> status();
  [[nodiscard]] Task<std::string> status_text();
  [[nodiscard]] Task<std::string> metrics_text();
  [[nodiscard]] Answer answer_status();
  [[nodiscard]] Answer answer_cluster();
  [[nodiscard]] Answer answer_events();
  [[nodiscard]] Answer answer_shuffles(net::HttpQuestion question);
  [[nodiscard]] Answer answer_shuffle(merge::ShuffleKey key);
  [[nodiscard]] Answer answer_metrics();
  [[nodiscard]] Answer answer_ready();
  [[nodiscard]] Answer drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle);
  void add_get(net::AdminHttp& http, const std::string& path, Answer (Api::*answer)());

  Parts parts_;
  DiskSpaces disks_;
  MountProbe probe_;
  NodeReport report_;
  ClusterView cluster_view_;
};

}  // namespace shufflefs
