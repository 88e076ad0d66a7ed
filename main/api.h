// What the daemon tells people and scripts: the JSON of /api/v1/..., /metrics, and the files of
// .shufflefs/. Read-only but for DELETE, which drops.
//
//   GET    /api/v1/status                     this node
//   GET    /api/v1/shuffles/<app>/<shuffle>   one shuffle, summed over all nodes (404 if nobody
//                                             knows it)
//   DELETE /api/v1/shuffles/<app>[/<shuffle>] drops it on all nodes
//   GET    /healthz  200 if a stat and a read through the mount came back in time, else 503 and why
//   GET    /metrics
//
// Threads: reactor. Ownership: the references outlive it. Cost: a shuffle's sum asks every member.
#pragma once

#include <boost/json/value.hpp>
#include <functional>

#include "base/file_io.h"
#include "base/memory_budget.h"
#include "fs/virtual_contents.h"
#include "main/mount_probe.h"
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
  };
  explicit Api(Parts parts);

  // Before add_routes(), if Spark is served.
  void show_spark(std::function<net::ess::EssStatus()> status) { spark_ = std::move(status); }
  void add_routes(net::AdminHttp& http);
  [[nodiscard]] fs::InfoTexts info_texts();

 private:
  [[nodiscard]] Task<boost::json::value> status();
  [[nodiscard]] Task<std::string> status_text();
  [[nodiscard]] Task<std::string> metrics_text() const;
  [[nodiscard]] Task<net::HttpAnswer> answer_status(net::HttpQuestion question);
  [[nodiscard]] Task<net::HttpAnswer> answer_shuffles(net::HttpQuestion question);
  [[nodiscard]] Task<net::HttpAnswer> answer_metrics(net::HttpQuestion question);
  [[nodiscard]] Task<net::HttpAnswer> answer_health(net::HttpQuestion question);
  [[nodiscard]] Task<net::HttpAnswer> drop(merge::AppId app,
                                           std::optional<merge::ShuffleId> shuffle);

  Parts parts_;
  const TimePoint start_;
  MountProbe probe_;
  std::function<net::ess::EssStatus()> spark_;
};

}  // namespace shufflefs
