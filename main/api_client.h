// How the client commands ask a node: where it is, and its answers as JSON. One thread; blocks up
// to the deadline. Failure: what main/../net/http_client.h says, and kInvalidArgument for an
// address that does not parse.
#pragma once

#include <boost/json/value.hpp>
#include <chrono>
#include <string>

#include "base/parse.h"
#include "base/result.h"
#include "net/http_message.h"

namespace shufflefs {

// The --http flag if it is given, else SHUFFLEFS_HTTP, else 127.0.0.1:7340.
[[nodiscard]] Result<HostPort> api_address(const std::string& flag);

// With the token in the file that SHUFFLEFS_HTTP_TOKEN_FILE names, if it does. The answer's JSON.
// Its error message and kNotFound for 404, kRefused for other error answers.
[[nodiscard]] Result<boost::json::value> api_call(net::HttpMethod method, const HostPort& address,
                                                  const std::string& path,
                                                  std::chrono::milliseconds deadline);
// The same for what is no JSON, such as /metrics.
[[nodiscard]] Result<std::string> api_text(const HostPort& address, const std::string& path,
                                           std::chrono::milliseconds deadline);

}  // namespace shufflefs
