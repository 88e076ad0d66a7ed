// Timing the same work on two sides, turn about, by one or more threads: what else runs on the
// machine hits both sides alike.
//
// Threads: take_turns() starts its own and ends them. Ownership: nothing. Failure: fail() ends the
// program with a message; there is nothing to measure then. Cost: a barrier before each batch, so
// batches should last milliseconds when there are several threads.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace shufflefs::bench {

[[noreturn]] inline void fail(const std::string& what) {
  fmt::print(stderr, "bench: {}: {}\n", what, std::strerror(errno));
  std::quick_exit(EXIT_FAILURE);
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

// Seconds of each batch, for side 0 and side 1: the mean over the threads of what each took.
using Seconds = std::array<std::vector<double>, 2>;

// Each of `threads` threads does batch(side, thread, turn) for each of `turns` turns, on the one
// side and then on the other; which one comes first changes from turn to turn. Only `batch` is
// timed; before it comes prepare(side, turn), done by one thread while the others wait.
template <class Prepare, class Batch>
Seconds take_turns(unsigned threads, std::size_t turns, Prepare prepare, Batch batch) {
  using Clock = std::chrono::steady_clock;
  std::vector<Seconds> by_thread(threads);
  std::barrier meet(static_cast<std::ptrdiff_t>(threads));
  const auto work = [&](unsigned thread) {
    for (std::size_t turn = 0; turn < turns; ++turn) {
      for (const std::size_t side : {turn % 2, 1 - turn % 2}) {
        if (thread == 0) prepare(side, turn);
        if (threads > 1) meet.arrive_and_wait();
        const auto begin = Clock::now();
        batch(side, thread, turn);
        const std::chrono::duration<double> took = Clock::now() - begin;
        by_thread.at(thread).at(side).push_back(took.count());
        if (threads > 1) meet.arrive_and_wait();
      }
    }
  };
  {
    std::vector<std::jthread> others;
    for (unsigned thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
    work(0);
  }
  Seconds means = std::move(by_thread.front());
  for (unsigned thread = 1; thread < threads; ++thread) {
    for (std::size_t side = 0; side < 2; ++side) {
      for (std::size_t turn = 0; turn < turns; ++turn) {
        means.at(side).at(turn) += by_thread.at(thread).at(side).at(turn);
      }
    }
  }
  for (auto& side : means) {
    for (double& value : side) value /= threads;
  }
  return means;
}

}  // namespace shufflefs::bench
