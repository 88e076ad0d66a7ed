// Looks up the addresses of a host name, with a deadline that holds even while the system's
// resolver hangs.
//
// Threads: reactor; the system's resolver runs on a thread of Asio's. Failure: kTimeout, or
// kPeerUnreachable with the resolver's message. Cost: numeric addresses are not looked up. A lookup
// that hangs delays those after it, and the end of the process, until the system's resolver gives
// up.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <vector>

#include "base/asio_runtime.h"
#include "base/parse.h"

namespace shufflefs::net {

// Not empty; in the resolver's order, without repetitions.
[[nodiscard]] Task<Result<std::vector<asio::ip::tcp::endpoint>>> resolve(AsioRuntime& runtime,
                                                                         HostPort address,
                                                                         Duration timeout);

}  // namespace shufflefs::net
