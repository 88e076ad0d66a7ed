#include "main/wait_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <iostream>
#include <thread>

#include "main/client.h"
#include "main/commands.h"
#include "main/pages.h"
#include "main/terminal.h"

namespace shufflefs {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::string given_up_text(const std::string& name, View shuffle) {
  std::string text = fmt::format("{}: {} of {} map outputs will not be merged completely", name,
                                 shuffle.number("maps_given_up"), shuffle.number("maps"));
  for (const View given_up : shuffle.list("given_up")) {
    text += fmt::format("\n  {} gave up {} blocks ({}): {}", given_up.text("node"),
                        given_up.number("blocks"), format_bytes(given_up.number("bytes")),
                        given_up.text("reason"));
  }
  return text + "\n  Their blocks are read from where they were written; partitions stay complete.";
}

std::string done_text(const std::string& name, View shuffle) {
  std::string text = fmt::format(
      "{}: {} map outputs committed and merged ({} in {} partitions)", name, shuffle.number("maps"),
      format_bytes(shuffle.number("merged_bytes")), shuffle.number("merged_partitions"));
  if (shuffle.number("blocks_left_home") > 0) {
    text += fmt::format("; {} large blocks ({}) stay where they were written",
                        shuffle.number("blocks_left_home"),
                        format_bytes(shuffle.number("bytes_left_home")));
  }
  return text;
}

std::string missing_text(View shuffle, uint64_t maps) {
  std::string text = fmt::format("{} of {} map outputs are committed, {} of these are merged",
                                 shuffle.number("maps"), maps, shuffle.number("maps_settled"));
  std::string unreachable;
  for (const View node : shuffle.list("unreachable"))
    unreachable += (unreachable.empty() ? "" : ", ") + unreachable_text(node);
  if (!unreachable.empty()) text += "; not reachable: " + unreachable;
  for (const std::string& refused : shuffle.texts("refused_commits"))
    text += fmt::format("\n  a commit was refused: {}", refused);
  return text;
}

struct Options : ClientOptions {
  std::string shuffle;
  uint64_t maps = 0;
  std::string timeout = "60s";
};

const char* state_of(int exit_code) {
  switch (exit_code) {
    case kExitOk: return "merged";
    case kExitImpossible: return "impossible";
    case kExitTimeout: return "timeout";
    default: return "failed";
  }
}

Result<int> run_wait(const HostPort& node, const Options& options) {
  TRY_ASSIGN(const merge::ShuffleKey key, merge::parse_shuffle_key(options.shuffle));
  TRY_ASSIGN(const auto timeout, duration_option("--timeout", options.timeout));
  const Terminal terminal = Terminal::of(2);
  const auto outcome = wait_for_shuffle({node, key, options.maps, timeout}, [&](View shuffle) {
    if (!terminal.is_interactive()) return;
    std::cerr << fmt::format("\r{} {} of {} committed, {} merged ",
                             terminal.bar(shuffle.number("maps_settled"), options.maps),
                             shuffle.number("maps"), options.maps, shuffle.number("maps_settled"))
              << std::flush;
  });
  if (terminal.is_interactive()) std::cerr << "\r\x1b[K" << std::flush;
  if (options.json) {
    print_json(boost::json::object{
        {"name", options.shuffle}, {"state", state_of(outcome.exit_code)}, {"text", outcome.text}});
    return outcome.exit_code;
  }
  if (outcome.exit_code != kExitOk) return complain(outcome.text, outcome.exit_code);
  std::cout << outcome.text << "\n";
  return kExitOk;
}

}  // namespace

WaitVerdict judge(const std::string& name, View shuffle, uint64_t maps) {
  if (shuffle.number("maps_given_up") > 0)
    return {WaitState::kImpossible, given_up_text(name, shuffle)};
  if (shuffle.number("maps") >= maps && shuffle.number("maps_unpushed") > 0) {
    return {WaitState::kImpossible,
            fmt::format("{}: pushing is switched off where {} of {} map outputs were written "
                        "(push.enabled = false): they will not be "
                        "merged, and are read from there",
                        name, shuffle.number("maps_unpushed"), shuffle.number("maps"))};
  }
  if (shuffle.number("maps") >= maps && shuffle.number("maps_settled") >= shuffle.number("maps"))
    return {WaitState::kDone, done_text(name, shuffle)};
  return {WaitState::kNotYet, missing_text(shuffle, maps)};
}

WaitOutcome wait_for_shuffle(const WaitOptions& options,
                             const std::function<void(View)>& progress) {
  constexpr auto kPause = milliseconds(100);
  constexpr auto kPatienceWithOneAnswer = milliseconds(10'000);
  const std::string name = merge::to_string(options.shuffle);
  const auto deadline = Clock::now() + options.timeout;
  const boost::json::value nothing;
  std::string missing = missing_text(nothing, options.maps);
  while (true) {
    const auto left =
        std::max(std::chrono::duration_cast<milliseconds>(deadline - Clock::now()), kPause);
    const auto answer = api_call(net::HttpMethod::kGet, options.address, "/api/v1/shuffles/" + name,
                                 std::min(left, kPatienceWithOneAnswer));
    if (answer) {
      const View shuffle = *answer;
      const WaitVerdict verdict = judge(name, shuffle, options.maps);
      if (verdict.state == WaitState::kDone) return {kExitOk, verdict.text};
      if (verdict.state == WaitState::kImpossible) return {kExitImpossible, verdict.text};
      missing = verdict.text;
      progress(shuffle);
    } else if (answer.error().code == Code::kNotFound || answer.error().code == Code::kTimeout) {
      // What nobody knows yet may still come, and who is busy may answer the next time.
      missing = answer.error().message;
    } else {
      return {kExitFailure, answer.error().message};
    }
    if (Clock::now() + kPause > deadline)
      return {kExitTimeout,
              fmt::format("{}: not within {} ms: {}", name, options.timeout.count(), missing)};
    std::this_thread::sleep_for(kPause);
  }
}

void add_wait_command(CLI::App& app, CommandContext& context) {
  const auto [command, options] =
      add_client_command(app, context, "wait",
                         "Wait until a shuffle's map outputs are committed and merged", run_wait);
  command->add_option("shuffle", options->shuffle, "The shuffle: APP/NUMBER")
      ->required()
      ->type_name("APP/SHUFFLE");
  command
      ->add_option("--maps", options->maps,
                   "How many map outputs are expected, on all nodes together")
      ->required()
      ->type_name("N");
  command->add_option("--timeout", options->timeout, "How long to wait (500ms, 30s, 2m)")
      ->type_name("DURATION")
      ->capture_default_str();
  command->footer(
      "Exit codes: 0 all are merged; 1 the node does not answer; 2 usage; 3 some will not be "
      "merged\n"
      "(the reason is printed at once); 4 not within the timeout (what is missing is printed).\n\n"
      "  shufflefs wait wordcount/0 --maps 12 --timeout 2m && cat "
      "mnt/shuffles/wordcount/0/partitions/0");
}

}  // namespace shufflefs
