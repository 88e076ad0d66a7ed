// One HTTP request, for the commands at the shell. Not for the daemon: it blocks.
//
// Threads: any; each call is on its own. Failure: kPeerUnreachable (nothing answers there),
// kTimeout (the deadline for everything together passed), kProtocol (what answers does not speak
// HTTP); the message names the address and what to do. An answer with an error status is an answer.
#pragma once

#include <chrono>
#include <string>

#include "base/parse.h"
#include "base/result.h"
#include "net/http_message.h"

namespace shufflefs::net {

// `target` is the path with its query, percent-encoded where necessary. Answers above 64 MiB are
// refused. `token` is the node's --http-token-file, empty for none.
[[nodiscard]] Result<HttpAnswer> http_call(HttpMethod method, const HostPort& address,
                                           const std::string& target,
                                           std::chrono::milliseconds deadline,
                                           const std::string& token = {});

}  // namespace shufflefs::net
