// GET /api/v1/clock: {"unix_ms": ...}, for the doctor, which compares the nodes' clocks. Reactor.
#pragma once

#include "net/admin_http.h"

namespace shufflefs {

void add_clock_route(net::AdminHttp& http);

}  // namespace shufflefs
