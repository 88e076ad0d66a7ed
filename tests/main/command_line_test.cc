#include <catch2/catch_test_macros.hpp>

#include "main/captured_output.h"
#include "main/commands.h"
#include "main/http_fixture.h"
#include "main/temporary_directory.h"

namespace shufflefs {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("command line: help teaches, and is no error") {
  const CapturedOutput output;
  CHECK(run_command_line({}) == 0);
  CHECK(run_command_line({"help"}) == 0);
  CHECK(run_command_line({"help", "cluster", "up"}) == 0);
  CHECK(run_command_line({"serve", "--help"}) == 0);
  CHECK(run_command_line({"version"}) == 0);
  CHECK(has(output.out(), "Exit codes:"));
  CHECK(has(output.out(), "--push.max-block-bytes"));
  CHECK_FALSE(has(output.out(), "generate-docs"));
}

TEST_CASE("command line: usage errors are 2 and say what was meant") {
  const CapturedOutput output;
  CHECK(run_command_line({"clutser", "up"}) == 2);
  CHECK(has(output.err(), "did you mean 'cluster'?"));
  CHECK(run_command_line({"cluster"}) == 2);
  CHECK(run_command_line({"cluster", "up"}) == 2);
  CHECK(run_command_line({"cluster", "up", "--dir", "/nonexistent", "--nodes", "0"}) == 2);
  CHECK(run_command_line({"status", "--jsn"}) == 2);
  CHECK(run_command_line({"status", "--", "--memory", "1G"}) == 2);
  CHECK(run_command_line({"status", "--http", "1.2.3.4:x"}) == 2);
  CHECK(run_command_line({"drop", "a/b/c"}) == 2);
  CHECK(run_command_line({"drop", ".."}) == 2);
}

TEST_CASE("command line: serve reports all mistakes of flags and file together") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("s.toml", "fuse-threads = 0\n");
  const CapturedOutput output;
  CHECK(run_command_line({"serve", "--config", file, "--memry=5", "--push.chunk-bytes", "--node",
                          "n/1", "stray", "--data"}) == 2);
  const std::string text = output.err();
  CHECK(has(text, "did you mean memory?"));
  CHECK(has(text, "fuse-threads = 0"));
  CHECK(has(text, "push.chunk-bytes  (command line)\n    it has no value"));
  CHECK(has(text, "'n/1' is not a node name"));
  CHECK(has(text, "stray"));
  CHECK(has(text, "data  (command line)\n    it has no value"));
  CHECK(has(text, "give --mount DIR"));
}

TEST_CASE("command line: status and drop ask the node") {
  HttpFixture http;
  http.server.add_route("/api/v1/status",
                        [](net::HttpQuestion) -> net::AdminHttp::Handler::result_type {
                          boost::json::object object;
                          object["node"] = "node9";
                          co_return net::json_answer(object);
                        });
  http.server.add_route("/api/v1/shuffles",
                        [](net::HttpQuestion question) -> net::AdminHttp::Handler::result_type {
                          if (question.method != net::HttpMethod::kDelete)
                            co_return net::error_answer(405, "x", "x");
                          if (question.path == "/api/v1/shuffles/app/1")
                            co_return net::error_answer(404, "x", "x");
                          if (question.path == "/api/v1/shuffles/app/2")
                            co_return net::error_answer(503, "x", "node3 is down");
                          boost::json::object object;
                          object["dropped"] = true;
                          co_return net::json_answer(object);
                        });
  http.start();
  const std::string address = to_string(http.address());
  const CapturedOutput output;
  CHECK(run_command_line({"status", "--http", address}) == 0);
  CHECK(run_command_line({"status", "--json", "--http", address}) == 0);
  CHECK(has(output.out(), "{\"node\":\"node9\"}\n"));
  CHECK(run_command_line({"drop", "app", "--http", address}) == 0);
  CHECK(has(output.out(), "app: dropped on all nodes"));
  CHECK(run_command_line({"drop", "app/2", "--http", address}) == 1);
  CHECK(has(output.err(), "node3 is down"));
  CHECK(run_command_line({"drop", "app/1", "--http", address}) == 0);
  CHECK(has(output.out(), "nothing to drop"));
  CHECK(run_command_line({"status", "--http", "127.0.0.1:1"}) == 1);
}

TEST_CASE("did you mean: close names only") {
  const std::vector<std::string_view> names = {"memory", "members", "push.max-retries",
                                               "push.jitter"};
  CHECK(did_you_mean("memry", names) == "memory");
  CHECK(did_you_mean("max-retries", names) == "push.max-retries");
  CHECK(did_you_mean("push_max_retries", names) == "push.max-retries");
  CHECK(did_you_mean("pusch.jitter", names) == "push.jitter");
  CHECK_FALSE(did_you_mean("colour", names));
  CHECK_FALSE(did_you_mean("", names));
  CHECK_FALSE(did_you_mean(std::string(1000, 'm'), names));
}

}  // namespace shufflefs
