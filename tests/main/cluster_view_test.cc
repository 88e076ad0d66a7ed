#include "main/cluster_view.h"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <catch2/catch_test_macros.hpp>

namespace shufflefs {
namespace {

using Reports = std::vector<std::pair<merge::NodeName, Result<std::string>>>;

merge::NodeName name(const char* text) { return merge::NodeName::parse(text).value(); }

merge::PeerHealth member(const char* node, bool up, std::string reason = {}) {
  return {name(node), "10.0.0.1:7338", false, up, std::move(reason), 0.5};
}

constexpr const char* kReport =
    R"({"node":"n","shuffles":[{"app":"a","shuffle":1,"partitions":4,"maps":3,"maps_settled":2,
        "bytes":100,"merged_bytes":60,"given_up":[{"reason":"r","chunks":1,"blocks":2,"bytes":3}],
        "refused_commits":["bad index"]},{"app":"b","shuffle":0,"maps":1,"maps_settled":1}],
        "shuffles_left_out":5,"events":[{"number":1,"time_ms":7,"code":"x.y"}]})";

}  // namespace

TEST_CASE("cluster view: shuffles are summed, events are merged, the others say why not") {
  const std::vector members = {member("n1", true), member("n2", true),
                               member("n3", false, "connection refused"), member("n4", true)};
  Reports reports;
  reports.emplace_back(name("n1"), std::string(kReport));
  reports.emplace_back(name("n2"), std::string(kReport));
  reports.emplace_back(name("n3"), make_error(Code::kPeerUnreachable, "n3 is down"));
  const auto view = cluster_json(name("n1"), members, reports);

  const auto& nodes = view.at("nodes").as_array();
  REQUIRE(nodes.size() == 4);
  CHECK(nodes[0].at("report").as_object().contains("node"));
  CHECK_FALSE(nodes[0].at("report").as_object().contains("shuffles"));
  CHECK(nodes[2].at("report").is_null());
  CHECK(nodes[2].at("reason").as_string() == "connection refused");
  CHECK(nodes[2].at("report_reason").as_string() == "n3 is down");
  CHECK(nodes[3].at("report_reason").as_string() == "it was not asked");

  const auto& shuffles = view.at("shuffles").as_array();
  REQUIRE(shuffles.size() == 2);
  CHECK(shuffles[0].at("app").as_string() == "a");  // it is being pushed
  CHECK(shuffles[0].at("pushing").as_bool());
  CHECK(shuffles[0].at("maps").to_number<int>() == 6);
  CHECK(shuffles[0].at("bytes").to_number<int>() == 200);
  CHECK(shuffles[0].at("partitions").to_number<int>() == 4);
  CHECK(shuffles[0].at("given_up").as_array().size() == 2);
  CHECK(shuffles[0].at("given_up").as_array()[1].at("node").as_string() == "n2");
  CHECK(shuffles[0].at("refused_commits").as_array()[0].as_string() == "n1: bad index");
  CHECK_FALSE(shuffles[1].at("pushing").as_bool());
  CHECK(view.at("shuffles_left_out").to_number<int>() == 10);
  CHECK(view.at("events").as_array().size() == 2);
}

TEST_CASE("cluster view: whatever a node reports, the view stands") {
  for (const char* const text :
       {"", "null", "[]", "7", "{", R"({"shuffles":7,"events":{}})",
        R"({"shuffles":[1,null,{"app":7,"given_up":[4],"refused_commits":[{}],"maps":-1}]})",
        R"({"events":[5,{"time_ms":"x"}]})"}) {
    Reports reports;
    reports.emplace_back(name("n1"), std::string(text));
    const auto view = cluster_json(name("n1"), {member("n1", true)}, reports);
    CHECK(view.at("nodes").as_array().size() == 1);
  }
}

TEST_CASE("cluster view: more shuffles and events than are shown are counted or left out") {
  std::string report = R"({"shuffles":[)";
  for (std::size_t i = 0; i < ClusterView::kMostShuffles + 7; ++i)
    report +=
        (i > 0 ? "," : "") + std::string(R"({"app":"a","shuffle":)") + std::to_string(i) + "}";
  report += R"(],"events":[)";
  for (std::size_t i = 0; i < ClusterView::kMostEvents + 7; ++i)
    report +=
        (i > 0 ? "," : "") + std::string(R"({"number":1,"time_ms":)") + std::to_string(i) + "}";
  Reports reports;
  reports.emplace_back(name("n1"), report + "]}");
  const auto view = cluster_json(name("n1"), {member("n1", true)}, reports);
  CHECK(view.at("shuffles").as_array().size() == ClusterView::kMostShuffles);
  CHECK(view.at("shuffles_left_out").to_number<std::size_t>() == 7);
  CHECK(view.at("events").as_array().size() == ClusterView::kMostEvents);
  CHECK(view.at("events").as_array()[0].at("time_ms").to_number<std::size_t>() ==
        ClusterView::kMostEvents + 6);
}

}  // namespace shufflefs
