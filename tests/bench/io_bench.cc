// Writes and reads in two directories, turn about, in one process: how fast is A compared with B?
//
//   io_bench --a DIR --b DIR --block BYTES --bytes TOTAL --rounds N [--threads N] [--random]
//
// Prints one line of JSON with the rates of every round in MB/s, of all threads together. In each
// round every thread has a new file in both directories. A stretch of 1 MiB (8 MiB where several
// threads have to meet) is written, in blocks, into the one and then into the other, and so on to
// the end; in the same way they are read. With --random the blocks of a file are written in order
// once, then overwritten and read in an order that is shuffled. A round's rate is that of the
// median stretch: stretches in which we were interrupted do not count. Open and close are not
// timed. What is written stays in the page cache: this measures the path to it, not the disk's.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <numeric>
#include <random>

#include "base/fd.h"
#include "bench/turns.h"

namespace shufflefs::bench {
namespace {

struct Options {
  std::array<std::string, 2> directories;
  std::size_t block_bytes = 32 * 1024;
  std::size_t total_bytes = 256 * 1024 * 1024;
  unsigned rounds = 5;
  unsigned threads = 1;
  bool random = false;
};

struct Rates {
  std::array<std::vector<double>, 2> write;
  std::array<std::vector<double>, 2> read;
};

class Round {
 public:
  explicit Round(const Options& options)
      : options_(options),
        stretch_(std::max<std::size_t>(options.threads > 1 ? 8U << 20U : 1U << 20U,
                                       options.block_bytes)),
        turns_(std::max<std::size_t>(options.total_bytes / stretch_, 2)),
        order_(turns_ * (stretch_ / options.block_bytes)),
        buffers_(options.threads, std::vector<char>(options.block_bytes, 'x')) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
  }

  void run(Rates& rates) {
    open_all(O_WRONLY | O_CREAT | O_EXCL);
    Seconds seconds = pass(write_block);
    if (options_.random) {
      std::ranges::shuffle(order_, random_);
      seconds = pass(write_block);
    }
    add(rates.write, seconds);
    open_all(O_RDONLY);
    add(rates.read, pass(read_block));
    for (std::size_t side = 0; side < 2; ++side) {
      for (unsigned thread = 0; thread < options_.threads; ++thread) {
        if (::unlink(path(side, thread).c_str()) != 0) fail("unlink");
      }
    }
  }

 private:
  static ssize_t write_block(int fd, char* data, std::size_t size, off_t offset) {
    return ::pwrite(fd, data, size, offset);
  }
  static ssize_t read_block(int fd, char* data, std::size_t size, off_t offset) {
    return ::pread(fd, data, size, offset);
  }

  [[nodiscard]] std::string path(std::size_t side, unsigned thread) const {
    return fmt::format("{}/io_bench.{}.{}.{}", options_.directories.at(side), ::getpid(), side,
                       thread);
  }

  void open_all(int flags) {
    for (std::size_t side = 0; side < 2; ++side) {
      fds_.at(side).clear();
      for (unsigned thread = 0; thread < options_.threads; ++thread) {
        fds_.at(side).emplace_back(::open(path(side, thread).c_str(), flags | O_CLOEXEC, 0644));
        if (!fds_.at(side).back()) fail("cannot open " + path(side, thread));
      }
    }
  }

  // Goes through all files with `step`, in the order of `order_`.
  template <class Step>
  Seconds pass(Step step) {
    const std::size_t blocks = stretch_ / options_.block_bytes;
    return take_turns(
        options_.threads, turns_, [](std::size_t, std::size_t) {},
        [&](std::size_t side, unsigned thread, std::size_t turn) {
          const int fd = fds_.at(side).at(thread).get();
          char* data = buffers_.at(thread).data();
          for (std::size_t i = turn * blocks; i < (turn + 1) * blocks; ++i) {
            const auto offset = static_cast<off_t>(order_[i] * options_.block_bytes);
            if (step(fd, data, options_.block_bytes, offset) !=
                static_cast<ssize_t>(options_.block_bytes))
              fail("read or write");
          }
        });
  }

  void add(std::array<std::vector<double>, 2>& rates, const Seconds& seconds) const {
    for (std::size_t side = 0; side < 2; ++side) {
      const double bytes = static_cast<double>(stretch_) * options_.threads;
      rates.at(side).push_back(bytes / median(seconds.at(side)) / 1e6);
    }
  }

  const Options& options_;
  std::size_t stretch_;
  std::size_t turns_;
  std::vector<std::size_t> order_;  // of the blocks of a file
  std::vector<std::vector<char>> buffers_;
  std::array<std::vector<Fd>, 2> fds_;
  std::minstd_rand random_;
};

void run(const Options& options) {
  Rates rates;
  Round round(options);
  for (unsigned i = 0; i < options.rounds; ++i) round.run(rates);
  fmt::print(
      R"({{"block": {}, "threads": {}, "a": {{"write": {::.1f}, "read": {::.1f}}}, "b": {{"write": {::.1f}, "read": {::.1f}}}}})"
      "\n",
      options.block_bytes, options.threads, rates.write[0], rates.read[0], rates.write[1],
      rates.read[1]);
}

}  // namespace
}  // namespace shufflefs::bench

int main(int argc, char** argv) {
  shufflefs::bench::Options options;
  CLI::App app("Writes and reads in two directories, turn about");
  app.add_option("--a", options.directories[0])->required();
  app.add_option("--b", options.directories[1])->required();
  app.add_option("--block", options.block_bytes)->check(CLI::Range(512, 64 << 20));
  app.add_option("--bytes", options.total_bytes);
  app.add_option("--rounds", options.rounds)->check(CLI::Range(1, 1000));
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 64));
  app.add_flag("--random", options.random);
  CLI11_PARSE(app, argc, argv);
  shufflefs::bench::run(options);
  return EXIT_SUCCESS;
}
