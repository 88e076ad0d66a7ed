// Sequential write and read in two directories, turn about, in one process: how fast is A compared
// with B?
//
//   io_bench --a DIR --b DIR --block BYTES --bytes TOTAL --rounds N
//
// Prints one line of JSON with the rates of every round in MB/s. In each round both directories get
// a new file, which is written in blocks, read in blocks, and removed; rounds begin with A and with
// B in turn. Open and close are not timed. What is written stays in the page cache: this measures
// the path to it, not the disk.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cstdlib>
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

// MB/s of doing `step` until `total` bytes are through.
template <class Step>
double timed(std::size_t total, Step step) {
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t done = 0; done < total;) {
    const ssize_t count = step();
    if (count <= 0) fail("read or write");
    done += static_cast<std::size_t>(count);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  return static_cast<double>(total) / took.count() / 1e6;
}

void round(Place& place, const Options& options, std::vector<char>& buffer) {
  const std::string path = fmt::format("{}/io_bench.{}", place.directory, ::getpid());
  {
    const shufflefs::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!fd) fail("cannot create " + path);
    place.write_rates.push_back(timed(options.total_bytes, [&] {
      return ::write(fd.get(), buffer.data(), options.block_bytes);
    }));
  }
  {
    const shufflefs::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) fail("cannot open " + path);
    place.read_rates.push_back(timed(
        options.total_bytes, [&] { return ::read(fd.get(), buffer.data(), options.block_bytes); }));
  }
  if (::unlink(path.c_str()) != 0) fail("cannot remove " + path);
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
      round(places.at(i % 2), options, buffer);
      round(places.at(1 - i % 2), options, buffer);
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
