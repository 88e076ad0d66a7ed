// How much is logged, asked and changed while the node runs:
//
//   GET  /api/v1/log-level              {"level": "info"}
//   POST /api/v1/log-level?level=debug  the same, afterwards
//
// Threads: reactor. Ownership: `changed` is called on the reactor after each change, so that it can
// be kept for the next worker.
#pragma once

#include <functional>

#include "base/log.h"
#include "net/admin_http.h"

namespace shufflefs {

void add_log_level_route(net::AdminHttp& http, std::function<void(LogLevel)> changed);

}  // namespace shufflefs
