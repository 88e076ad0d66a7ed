#include "main/api_log.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>

namespace shufflefs {
namespace {

Task<net::HttpAnswer> answer(net::HttpQuestion question, std::function<void(LogLevel)> changed) {
  if (question.method == net::HttpMethod::kPost) {
    const auto wanted = question.query.find("level");
    const auto level =
        wanted == question.query.end() ? std::nullopt : parse_log_level(wanted->second);
    if (!level)
      co_return net::error_answer(400, "invalid_argument",
                                  "give ?level= with debug, info, warning or error");
    const LogLevel before = log_level();
    log_set_level(*level);
    changed(*level);
    // Not log_info: it must be seen also where the new level is above it.
    log_event(std::max(*level, LogLevel::kInfo), "log.level",
              {{"level", to_string(*level)}, {"before", to_string(before)}});
  } else if (question.method != net::HttpMethod::kGet) {
    co_return net::error_answer(405, "method", "use GET or POST");
  }
  co_return net::json_answer(boost::json::object{{"level", std::string(to_string(log_level()))}});
}

}  // namespace

void add_log_level_route(net::AdminHttp& http, std::function<void(LogLevel)> changed) {
  http.add_route("/api/v1/log-level", [changed = std::move(changed)](net::HttpQuestion question) {
    return answer(std::move(question), changed);
  });
}

}  // namespace shufflefs
