// Runs simulations from the command line: one seed with its history, or many seeds on all cores.
//
//   sim_run --seed 42 --verbose          what happened, step by step
//   sim_run --seeds 1-2000               all of them; prints each seed that fails, with its command
//
// Exit code: 0 if every invariant held, 1 if not.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/parse.h"
#include "sim/world.h"

namespace shufflefs::sim {
namespace {

struct Choice {
  uint64_t first = 1;
  uint64_t last = 1;
  std::optional<std::size_t> nodes;
  std::string only;
  bool verbose = false;
  bool twice = false;
  bool until_failure = false;
  unsigned threads = 1;
};

std::string command_for(const Choice& choice, uint64_t seed) {
  return fmt::format("sim_run --seed {}{}{} --verbose", seed,
                     choice.nodes ? fmt::format(" --nodes {}", *choice.nodes) : "",
                     choice.only.empty() ? "" : " --only " + choice.only);
}

struct Sums {
  std::mutex mu;
  uint64_t seeds = 0;
  uint64_t failed = 0;
  uint64_t steps = 0;
  std::map<net::MessageType, uint64_t> requests;
  uint64_t crashes = 0;
  uint64_t reads_right = 0;
  uint64_t reads_failed = 0;
  uint64_t reads_forgetful = 0;
  uint64_t segments = 0;
  uint64_t drains = 0;
  SimNode::Counts counts;
  Duration virtual_time{};

  void add(const Outcome& outcome) {
    ++seeds;
    failed += outcome.violation ? 1 : 0;
    steps += outcome.steps;
    for (const auto& [type, count] : outcome.requests) requests[type] += count;
    crashes += outcome.crashes;
    reads_right += outcome.reads_right;
    reads_failed += outcome.reads_failed;
    reads_forgetful += outcome.reads_forgetful;
    virtual_time += outcome.virtual_time;
    segments += outcome.segments;
    drains += outcome.drains;
    counts.evictions += outcome.counts.evictions;
    counts.busy += outcome.counts.busy;
    counts.duplicates += outcome.counts.duplicates;
  }
};

void run_seed(const Choice& choice, uint64_t seed, Sums& sums) {
  const Scenario scenario = make_scenario(seed, choice.nodes, choice.only);
  Outcome outcome = World(scenario, choice.verbose).run();
  if (choice.twice && World(scenario, false).run().history != outcome.history)
    outcome.violation = "the same seed has had two histories";
  const std::lock_guard lock(sums.mu);
  sums.add(outcome);
  if (outcome.violation)
    fmt::print("seed {}: {}\n  replay: {}\n", seed, *outcome.violation, command_for(choice, seed));
}

int run(const Choice& choice) {
  Sums sums;
  std::atomic<uint64_t> next{choice.first};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < choice.threads; ++i) {
    threads.emplace_back([&] {
      for (uint64_t seed = next++; seed <= choice.last; seed = next++) {
        run_seed(choice, seed, sums);
        const std::lock_guard lock(sums.mu);
        if (choice.until_failure && sums.failed > 0) return;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  fmt::print(
      "{} seeds, {} failed; {} steps, {} crashes, {} reads right, {} with an error, {} forgetful, "
      "{} evictions, {} further segments, {} drains, {} busy answers, {} duplicates, {} h of "
      "virtual "
      "time; requests:",
      sums.seeds, sums.failed, sums.steps, sums.crashes, sums.reads_right, sums.reads_failed,
      sums.reads_forgetful, sums.counts.evictions, sums.segments, sums.drains, sums.counts.busy,
      sums.counts.duplicates, sums.virtual_time / std::chrono::hours(1));
  for (const auto& [type, count] : sums.requests) fmt::print(" {} {}", net::name_of(type), count);
  fmt::print("\n");
  return sums.failed > 0 ? 1 : 0;
}

}  // namespace
}  // namespace shufflefs::sim

int main(int argc, char** argv) {
  using namespace shufflefs;
  sim::Choice choice;
  std::string seeds;
  std::optional<uint64_t> seed;
  CLI::App app("Deterministic simulation of shufflefs's domain (docs/simulation.md)");
  app.add_option("--seed", seed, "One seed");
  app.add_option("--seeds", seeds, "FIRST-LAST");
  app.add_option("--nodes", choice.nodes, "So many nodes, whatever the seed says");
  app.add_option(
      "--only", choice.only,
      "One kind of fault: crashes, network, disks, members, drains, memory, removals, lost, twins, "
      "clocks, views, hangs, reuse, races, none");
  app.add_option("--threads", choice.threads, "Seeds at a time");
  app.add_flag("--verbose", choice.verbose, "Print what happens");
  app.add_flag("--until-failure", choice.until_failure, "End at the first seed that fails");
  app.add_flag("--twice", choice.twice, "Run each seed twice and compare the histories");
  CLI11_PARSE(app, argc, argv);
  if (!seeds.empty()) {
    const auto parts = split(seeds, '-');
    choice.first = parse_decimal(parts.front()).value_or(1);
    choice.last = parse_decimal(parts.back()).value_or(choice.first);
  }
  if (seed) choice.first = choice.last = *seed;
  log_set_level(choice.verbose ? LogLevel::kDebug : LogLevel::kError);
  return sim::run(choice);
}
