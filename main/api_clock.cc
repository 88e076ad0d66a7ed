#include "main/api_clock.h"

#include <boost/json/object.hpp>
#include <chrono>

namespace shufflefs {
namespace {

Task<net::HttpAnswer> answer(net::HttpQuestion question) {
  if (question.method != net::HttpMethod::kGet)
    co_return net::error_answer(405, "method", "use GET");
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  co_return net::json_answer(boost::json::object{
      {"unix_ms", std::chrono::duration_cast<std::chrono::milliseconds>(now).count()}});
}

}  // namespace

void add_clock_route(net::AdminHttp& http) {
  http.add_route("/api/v1/clock",
                 [](net::HttpQuestion question) { return answer(std::move(question)); });
}

}  // namespace shufflefs
