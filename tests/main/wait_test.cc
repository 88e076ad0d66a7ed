// The pure verdict, and the whole command against a server that answers as told.
#include <atomic>
#include <boost/json/parse.hpp>
#include <catch2/catch_test_macros.hpp>
#include <mutex>

#include "main/commands.h"
#include "main/http_fixture.h"
#include "main/wait_command.h"

namespace shufflefs {
namespace {

using std::chrono::milliseconds;

// Answers the n-th question with the n-th text, then always with the last one. "404" is no such
// shuffle.
class FakeNode {
 public:
  explicit FakeNode(std::vector<std::string> answers) : answers_(std::move(answers)) {
    http_.server.add_route("/api/v1/shuffles/app/7", [this](net::HttpQuestion) {
      return answer_with(answers_[std::min<std::size_t>(asked_++, answers_.size() - 1)]);
    });
    http_.start();
  }
  [[nodiscard]] HostPort address() const { return http_.address(); }
  [[nodiscard]] std::size_t asked() const { return asked_; }

 private:
  static Task<net::HttpAnswer> answer_with(std::string text) {
    if (text == "404") co_return net::error_answer(404, "not_found", "no such shuffle");
    if (text == "500") co_return net::error_answer(500, "internal", "a bug");
    co_return net::json_answer(boost::json::parse(text));
  }

  std::vector<std::string> answers_;
  std::atomic<std::size_t> asked_ = 0;
  HttpFixture http_;
};

WaitOutcome wait_on(const FakeNode& node, uint64_t maps,
                    milliseconds timeout = milliseconds(20'000)) {
  return wait_for_shuffle(
      {node.address(), merge::parse_shuffle_key("app/7").value(), maps, timeout}, [](View) {});
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

WaitState state_of(uint64_t wanted, uint64_t maps, uint64_t settled, uint64_t given_up = 0,
                   uint64_t unpushed = 0) {
  const boost::json::value shuffle = {{"maps", maps},
                                      {"maps_settled", settled},
                                      {"maps_given_up", given_up},
                                      {"maps_unpushed", unpushed}};
  return judge("app/7", shuffle, wanted).state;
}

}  // namespace

TEST_CASE("wait: what an answer means") {
  CHECK(state_of(3, 0, 0) == WaitState::kNotYet);
  CHECK(state_of(3, 2, 2) == WaitState::kNotYet);
  CHECK(state_of(3, 3, 2) == WaitState::kNotYet);
  CHECK(state_of(3, 3, 3) == WaitState::kDone);
  CHECK(state_of(3, 4, 4) == WaitState::kDone);
  CHECK(state_of(3, 4, 3) == WaitState::kNotYet);  // another one is under way
  CHECK(state_of(3, 2, 1, 1) == WaitState::kImpossible);
  CHECK(state_of(3, 2, 0, 0, 2) == WaitState::kNotYet);
  CHECK(state_of(3, 3, 1, 0, 2) == WaitState::kImpossible);
  CHECK(state_of(0, 0, 0) == WaitState::kDone);
}

TEST_CASE("wait: 0 when all are merged, and says what stayed at home") {
  const FakeNode node({"404", R"({"maps":1,"maps_settled":0})",
                       R"({"maps":3,"maps_settled":3,"merged_bytes":2048,"merged_partitions":5,
                          "blocks_left_home":2,"bytes_left_home":1048576})"});
  const WaitOutcome outcome = wait_on(node, 3);
  CHECK(outcome.exit_code == 0);
  CHECK(node.asked() == 3);
  CHECK(has(outcome.text, "app/7: 3 map outputs committed and merged"));
  CHECK(has(outcome.text, "2 large blocks (1.0 MiB) stay where they were written"));
}

TEST_CASE("wait: 3 at once when some map was given up, with owner and reason") {
  const FakeNode node({R"({"maps":1,"maps_given_up":1,"given_up":[
      {"node":"node1","reason":"owner node3: connection refused","chunks":1,"blocks":4,"bytes":10}]})"});
  const WaitOutcome outcome = wait_on(node, 60);
  CHECK(outcome.exit_code == 3);
  CHECK(node.asked() == 1);
  CHECK(has(outcome.text, "owner node3: connection refused"));
}

TEST_CASE("wait: 3 when pushing is switched off") {
  const FakeNode node({R"({"maps":2,"maps_unpushed":2})"});
  const WaitOutcome outcome = wait_on(node, 2);
  CHECK(outcome.exit_code == 3);
  CHECK(has(outcome.text, "push.enabled"));
}

TEST_CASE("wait: 4 on timeout, with what is missing") {
  const FakeNode node(
      {R"({"maps":2,"maps_settled":1,"refused_commits":["map 9: index is truncated"],
      "unreachable":[{"node":"node3","reason":"connection refused"}]})"});
  const WaitOutcome outcome = wait_on(node, 3, milliseconds(250));
  CHECK(outcome.exit_code == 4);
  CHECK(node.asked() >= 2);
  CHECK(has(outcome.text, "2 of 3 map outputs are committed, 1 of these are merged"));
  CHECK(has(outcome.text, "node3 (connection refused)"));
  CHECK(has(outcome.text, "index is truncated"));

  const FakeNode unknown({"404"});
  const WaitOutcome never = wait_on(unknown, 3, milliseconds(0));
  CHECK(never.exit_code == 4);
  CHECK(has(never.text, "no such shuffle"));
}

TEST_CASE("wait: 1 when the node does not answer or cannot") {
  HostPort nobody;
  {
    const FakeNode node({"500"});
    CHECK(wait_on(node, 3).exit_code == 1);
    nobody = node.address();
  }
  const WaitOutcome outcome = wait_for_shuffle(
      {nobody, merge::parse_shuffle_key("app/7").value(), 1, milliseconds(5000)}, [](View) {});
  CHECK(outcome.exit_code == 1);
  CHECK(has(outcome.text, "nothing answers"));
}

TEST_CASE("wait: the command line, with the node from flag or environment") {
  const FakeNode node({R"({"maps":1,"maps_settled":1})"});
  CHECK(run_command_line({"wait", "app/7", "--maps", "1", "--http", to_string(node.address())}) ==
        0);
  ::setenv("SHUFFLEFS_HTTP", to_string(node.address()).c_str(), 1);
  CHECK(run_command_line({"wait", "app/7", "--maps=1"}) == 0);
  CHECK(run_command_line({"wait", "app/7", "--maps", "2", "--timeout", "1ms"}) == 4);
  ::setenv("SHUFFLEFS_HTTP", "nonsense:port", 1);
  CHECK(run_command_line({"wait", "app/7", "--maps", "1"}) == 2);
  ::unsetenv("SHUFFLEFS_HTTP");
  CHECK(run_command_line({"wait", "../7", "--maps", "1"}) == 2);
  CHECK(run_command_line({"wait", "app/7"}) == 2);
  CHECK(run_command_line({"wait", "app/7", "--maps", "1", "--timeout", "soon"}) == 2);
}

}  // namespace shufflefs
