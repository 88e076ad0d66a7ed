#include "main/wait_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <iostream>
#include <thread>

#include "main/api_client.h"
#include "main/client_options.h"
#include "main/commands.h"
#include "main/terminal.h"

namespace shufflefs {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::string list_of(const std::vector<UnreachableView>& nodes) {
  std::string text;
  for (const UnreachableView& node : nodes) text += (text.empty() ? "" : ", ") + to_string(node);
  return text;
}

std::string name_of(const ShuffleView& shuffle) {
  return fmt::format("{}/{}", shuffle.app, shuffle.shuffle);
}

std::string given_up_text(const ShuffleView& shuffle) {
  std::string text = fmt::format("{}: {} of {} map outputs will not be merged completely",
                                 name_of(shuffle), shuffle.maps_given_up, shuffle.maps);
  for (const GivenUpView& given_up : shuffle.given_up) {
    text += fmt::format("\n  {} gave up {} blocks ({}): {}", given_up.node, given_up.blocks,
                        format_bytes(given_up.bytes), given_up.reason);
  }
  return text + "\n  Their blocks are read from where they were written; partitions stay complete.";
}

std::string done_text(const ShuffleView& shuffle) {
  std::string text =
      fmt::format("{}: {} map outputs committed and merged ({} in {} partitions)", name_of(shuffle),
                  shuffle.maps, format_bytes(shuffle.merged_bytes), shuffle.merged_partitions);
  if (shuffle.blocks_left_home > 0) {
    text += fmt::format("; {} large blocks ({}) stay where they were written",
                        shuffle.blocks_left_home, format_bytes(shuffle.bytes_left_home));
  }
  return text;
}

std::string missing_text(const ShuffleView& shuffle, uint64_t maps) {
  std::string text = fmt::format("{} of {} map outputs are committed, {} of these are merged",
                                 shuffle.maps, maps, shuffle.maps_settled);
  if (!shuffle.unreachable.empty())
    text += fmt::format("; not reachable: {}", list_of(shuffle.unreachable));
  for (const std::string& refused : shuffle.refused_commits)
    text += fmt::format("\n  a commit was refused: {}", refused);
  return text;
}

WaitOutcome timed_out(const WaitOptions& options, const std::string& detail) {
  return {kExitTimeout, fmt::format("{}: not within {} ms: {}", merge::to_string(options.shuffle),
                                    options.timeout.count(), detail)};
}

struct Options {
  ClientOptions client;
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

int run_wait(const Options& options) {
  const auto address = api_address(options.client.http);
  if (!address) return complain(address.error().message, kExitUsage);
  const auto key = merge::parse_shuffle_key(options.shuffle);
  if (!key) return complain(key.error().message, kExitUsage);
  const auto patience = parse_duration(options.timeout);
  if (!patience) return complain("--timeout: " + patience.error().message, kExitUsage);

  const Terminal terminal = Terminal::of(2);
  const auto outcome =
      wait_for_shuffle({*address, *key, options.maps, *patience}, [&](const ShuffleView& shuffle) {
        if (!terminal.is_interactive()) return;
        std::cerr << fmt::format("\r{} {} of {} committed, {} merged ",
                                 terminal.bar(shuffle.maps_settled, options.maps), shuffle.maps,
                                 options.maps, shuffle.maps_settled)
                  << std::flush;
      });
  if (terminal.is_interactive()) std::cerr << "\r\x1b[K" << std::flush;
  if (options.client.json) {
    print_json(boost::json::object{
        {"name", options.shuffle}, {"state", state_of(outcome.exit_code)}, {"text", outcome.text}});
    return outcome.exit_code;
  }
  if (outcome.exit_code != kExitOk) return complain(outcome.text, outcome.exit_code);
  std::cout << outcome.text << "\n";
  return kExitOk;
}

}  // namespace

WaitVerdict judge(const ShuffleView& shuffle, uint64_t maps) {
  if (shuffle.maps_given_up > 0) return {WaitState::kImpossible, given_up_text(shuffle)};
  if (shuffle.maps >= maps && shuffle.maps_unpushed > 0) {
    return {WaitState::kImpossible,
            fmt::format("{}: pushing is switched off where {} of {} map outputs were written "
                        "(push.enabled = false): they will not be "
                        "merged, and are read from there",
                        name_of(shuffle), shuffle.maps_unpushed, shuffle.maps)};
  }
  if (shuffle.maps >= maps && shuffle.maps_settled >= shuffle.maps)
    return {WaitState::kDone, done_text(shuffle)};
  return {WaitState::kNotYet, missing_text(shuffle, maps)};
}

WaitOutcome wait_for_shuffle(const WaitOptions& options,
                             const std::function<void(const ShuffleView&)>& progress) {
  constexpr auto kPause = milliseconds(100);
  constexpr auto kPatienceWithOneAnswer = milliseconds(10'000);
  const std::string path = fmt::format("/api/v1/shuffles/{}", merge::to_string(options.shuffle));
  const auto deadline = Clock::now() + options.timeout;
  std::string missing = missing_text({}, options.maps);
  while (true) {
    const auto left =
        std::max(std::chrono::duration_cast<milliseconds>(deadline - Clock::now()), kPause);
    const auto answer = api_call(net::HttpMethod::kGet, options.address, path,
                                 std::min(left, kPatienceWithOneAnswer));
    if (answer) {
      ShuffleView shuffle = shuffle_view(*answer);
      shuffle.app = options.shuffle.app.str();
      shuffle.shuffle = number(options.shuffle.shuffle);
      const WaitVerdict verdict = judge(shuffle, options.maps);
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
    if (Clock::now() + kPause > deadline) return timed_out(options, missing);
    std::this_thread::sleep_for(kPause);
  }
}

void add_wait_command(CLI::App& app, CommandContext& context) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = add_client_command(
      app, "wait", "Wait until a shuffle's map outputs are committed and merged", options->client);
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
  command->callback([options, &context] { context.exit_code = run_wait(*options); });
}

}  // namespace shufflefs
