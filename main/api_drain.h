// The HTTP side of `shufflefs drain`:
//
//   POST   /api/v1/drain   begins to drain this node
//   DELETE /api/v1/drain   ends that: the node takes pushes again
//   GET    /api/v1/drain   how far it is
//
// All answer with merge::DrainStatus as JSON. Threads: reactor. Ownership: the engine outlives the
// server.
#pragma once

#include "merge/engine.h"
#include "net/admin_http.h"

namespace shufflefs {

void add_drain_routes(net::AdminHttp& http, merge::Engine& engine);

}  // namespace shufflefs
