// Sequential write and read in two directories, turn about, in one process: how fast is A compared
// with B?
//
//   io_bench --a DIR --b DIR --block BYTES --bytes TOTAL --rounds N
//
// Prints one line of JSON with the rates of every round in MB/s. In each round both directories get
// a new file. A stretch of 1 MiB is written, in blocks, into the one and then into the other, and
// so on to the end; in the same way they are read. A round's rate is that of the median stretch:
// what else runs on the machine hits both sides alike, and the stretches in which we were
// interrupted do not count. Open and close are not timed. What is written stays in the page cache:
// this measures the path to it, not the disk.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/fd.h"

namespace {

struct Place {
  std::string directory;
  std::vector<double> write_rates;
  std::vector<double> read_rates;
};

struct Options {
  std::size_t block_bytes = 32 * 1024;
  std::size_t total_bytes = 256 * 1024 * 1024;
  unsigned rounds = 5;
};

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

constexpr std::size_t kStretchBytes = 1024 * 1024;

struct OpenPlace {
  Place* place;
  std::string path;
  shufflefs::Fd fd;
  std::vector<double> seconds;  // of each stretch
};

// Seconds of doing `step` until a stretch is through.
template <class Step>
double timed(std::size_t bytes, Step step) {
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t count = step();
    if (count <= 0) fail("read or write");
    done += static_cast<std::size_t>(count);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// MB/s of the median stretch.
double rate(std::vector<double> seconds, std::size_t bytes) {
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  return static_cast<double>(bytes) / *middle / 1e6;
}

using OpenPlaces = std::array<OpenPlace, 2>;

OpenPlaces open_both(std::array<Place, 2>& places, int flags) {
  OpenPlaces opened;
  for (std::size_t i = 0; i < 2; ++i) {
    opened.at(i).place = &places.at(i);
    opened.at(i).path = fmt::format("{}/io_bench.{}.{}", places.at(i).directory, ::getpid(), i);
    opened.at(i).fd = shufflefs::Fd(::open(opened.at(i).path.c_str(), flags | O_CLOEXEC, 0644));
    if (!opened.at(i).fd) fail("cannot open " + opened.at(i).path);
  }
  return opened;
}

// Goes through both files with `step(fd)`, stretch by stretch, beginning with the one and the other
// in turn.
template <class Step>
void run_both(OpenPlaces& opened, const Options& options, Step step) {
  const std::size_t stretch = std::max(kStretchBytes, options.block_bytes);
  for (std::size_t done = 0, turn = 0; done < options.total_bytes; done += stretch, ++turn) {
    for (const std::size_t i : {turn % 2, 1 - turn % 2}) {
      OpenPlace& one = opened.at(i);
      one.seconds.push_back(timed(stretch, [&] { return step(one.fd.get()); }));
    }
  }
}

void round(std::array<Place, 2>& places, const Options& options, std::vector<char>& buffer) {
  const std::size_t stretch = std::max(kStretchBytes, options.block_bytes);
  {
    OpenPlaces opened = open_both(places, O_WRONLY | O_CREAT | O_EXCL);
    run_both(opened, options,
             [&](int fd) { return ::write(fd, buffer.data(), options.block_bytes); });
    for (const OpenPlace& one : opened)
      one.place->write_rates.push_back(rate(one.seconds, stretch));
  }
  OpenPlaces opened = open_both(places, O_RDONLY);
  run_both(opened, options, [&](int fd) { return ::read(fd, buffer.data(), options.block_bytes); });
  for (const OpenPlace& one : opened) {
    one.place->read_rates.push_back(rate(one.seconds, stretch));
    if (::unlink(one.path.c_str()) != 0) fail("cannot remove " + one.path);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::array<Place, 2> places;
  Options options;
  CLI::App app("Sequential I/O in two directories, turn about");
  app.add_option("--a", places[0].directory)->required();
  app.add_option("--b", places[1].directory)->required();
  app.add_option("--block", options.block_bytes);
  app.add_option("--bytes", options.total_bytes);
  app.add_option("--rounds", options.rounds);
  CLI11_PARSE(app, argc, argv);
  try {
    std::vector<char> buffer(options.block_bytes, 'x');
    for (unsigned i = 0; i < options.rounds; ++i) {
      round(places, options, buffer);
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "io_bench: {}\n", error.what());
    return EXIT_FAILURE;
  }
  fmt::print(
      R"({{"block": {}, "a": {{"write": {::.1f}, "read": {::.1f}}}, "b": {{"write": {::.1f}, "read": {::.1f}}}}})"
      "\n",
      options.block_bytes, places[0].write_rates, places[0].read_rates, places[1].write_rates,
      places[1].read_rates);
  return EXIT_SUCCESS;
}
