// What the administration server and its clients say to each other: a question and an answer, both
// fully in memory. Values, no sharing. Cost: the strings.
#pragma once

#include <boost/json/value.hpp>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace shufflefs::net {

enum class HttpMethod { kGet, kPost, kDelete };

[[nodiscard]] std::string_view to_string(HttpMethod method);

struct HttpQuestion {
  HttpMethod method = HttpMethod::kGet;
  std::string path;  // percent-decoded, without the query; starts with '/'
  std::map<std::string, std::string, std::less<>>
      query;  // percent-decoded; the last one of equal names
  std::string body;
  // Of the headers, what decides who may ask (net/admin_http.h); empty where there is none.
  std::string host;
  std::string origin;
  std::string fetch_site;     // Sec-Fetch-Site
  std::string authorization;  // as sent: "Bearer ..."
};

struct HttpAnswer {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers{};  // further ones, not from outside
};

[[nodiscard]] HttpAnswer text_answer(std::string text);
[[nodiscard]] HttpAnswer json_answer(const boost::json::value& value);
// {"error": {"code": "...", "message": "..."}}; the code is a stable word such as "not_found".
[[nodiscard]] HttpAnswer error_answer(unsigned status, std::string_view code,
                                      std::string_view message);
// The same from an Error: 404 for kNotFound and kDropped, 400 for bad input, 504 for a timeout,
// else 500 or 503.
[[nodiscard]] HttpAnswer error_answer(const Error& error);

}  // namespace shufflefs::net
