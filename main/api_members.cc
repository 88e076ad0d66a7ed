#include "main/api_members.h"

#include <boost/json/object.hpp>

namespace shufflefs {
namespace {

constexpr std::string_view kMembers = "/api/v1/members/";

Task<net::HttpAnswer> answer(net::Membership& membership, net::HttpQuestion question) {
  if (question.method != net::HttpMethod::kDelete)
    co_return net::error_answer(405, "method", "use DELETE");
  const auto name =
      merge::NodeName::parse(question.path.substr(std::min(question.path.size(), kMembers.size())));
  if (!name) co_return net::error_answer(name.error());
  const Status forgotten = co_await membership.forget(*name);
  if (!forgotten) co_return net::error_answer(forgotten.error());
  co_return net::json_answer(boost::json::object{{"forgotten", true}});
}

}  // namespace

void add_members_route(net::AdminHttp& http, net::Membership& membership) {
  http.add_route("/api/v1/members", [&membership](net::HttpQuestion question) {
    return answer(membership, std::move(question));
  });
}

}  // namespace shufflefs
