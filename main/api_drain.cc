#include "main/api_drain.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

namespace shufflefs {
namespace {

namespace json = boost::json;

json::value drain_json(const merge::DrainStatus& status) {
  json::array given_up;
  for (const merge::GivenUp& entry : status.given_up) {
    given_up.push_back({{"reason", entry.reason},
                        {"chunks", entry.chunks},
                        {"blocks", entry.blocks},
                        {"bytes", entry.bytes}});
  }
  return json::object{{"draining", status.draining},
                      {"safe_to_stop", status.safe_to_stop},
                      {"map_outputs", status.map_outputs},
                      {"waiting", status.waiting},
                      {"maps_unpushed", status.maps_unpushed},
                      {"orphans_moved", status.orphans_moved},
                      {"blocks_left_home", status.blocks_left_home},
                      {"bytes_left_home", status.bytes_left_home},
                      {"given_up", std::move(given_up)}};
}

Task<net::HttpAnswer> answer(merge::Engine& engine, net::HttpQuestion question) {
  if (question.method == net::HttpMethod::kPost) engine.drain(true);
  if (question.method == net::HttpMethod::kDelete) engine.drain(false);
  co_return net::json_answer(drain_json(engine.drain_status()));
}

}  // namespace

void add_drain_routes(net::AdminHttp& http, merge::Engine& engine) {
  http.add_route("/api/v1/drain", [&engine](net::HttpQuestion question) {
    return answer(engine, std::move(question));
  });
}

}  // namespace shufflefs
