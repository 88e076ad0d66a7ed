// Calls on names in two directories, turn about, in one process: how long does each take in A
// compared with B?
//
//   meta_bench --a DIR --b DIR --operation NAME [--threads N] [--batch N] [--turns N]
//
// Prints one line of JSON with the microseconds of a call in every turn, as a caller sees them: the
// mean over a batch of calls, and over the threads. Each thread works in a directory of its own.
//
//   round           create, write 4 KiB, close, rename
//   stat            of a name that the kernel knows
//   stat_uncached   after the kernel has dropped what it knew of names (drop_caches, also of B)
//   open_read_close a file of 4 KiB
//   unlink
//   readdir         an entry, by getdents with a large buffer
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <map>

#include "base/fd.h"
#include "bench/turns.h"

namespace shufflefs::bench {
namespace {

constexpr std::size_t kFileBytes = 4096;

struct Options {
  std::array<std::string, 2> directories;
  std::string operation;
  unsigned threads = 1;
  std::size_t batch = 200;
  std::size_t turns = 40;
};

std::string name(const std::string& directory, std::size_t number) {
  return fmt::format("{}/shuffle_0_{}_0.data", directory, number);
}

void create(const std::string& path) {
  static const std::array<char, kFileBytes> data{};
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd || ::write(fd.get(), data.data(), data.size()) != static_cast<ssize_t>(data.size()))
    fail("cannot create " + path);
}

void create_and_rename(const std::string& directory, std::size_t number) {
  const std::string path = name(directory, number);
  const std::string temporary = path + ".tmp";
  create(temporary);
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail("rename");
}

// Only a name: removing data is slow on a disk that is told of what it need not keep.
void create_empty(const std::string& directory, std::size_t number) {
  const std::string path = name(directory, number);
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd) fail("cannot create " + path);
}

void stat_one(const std::string& directory, std::size_t number) {
  struct stat attr{};
  if (::stat(name(directory, number).c_str(), &attr) != 0) fail("stat");
}

void open_read_close(const std::string& directory, std::size_t number) {
  std::array<char, kFileBytes> data{};
  const Fd fd(::open(name(directory, number).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || ::read(fd.get(), data.data(), data.size()) != static_cast<ssize_t>(data.size()))
    fail("open or read");
}

void remove_one(const std::string& directory, std::size_t number) {
  if (::unlink(name(directory, number).c_str()) != 0) fail("unlink");
}

void read_directory(const std::string& directory, std::size_t expected) {
  thread_local std::vector<char> buffer(256 * 1024);
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::size_t found = 0;
  while (true) {
    const ssize_t got = fd ? ::syscall(SYS_getdents64, fd.get(), buffer.data(), buffer.size()) : -1;
    if (got < 0) fail("getdents");
    if (got == 0) break;
    for (ssize_t at = 0; at < got; ++found) {
      unsigned short length = 0;
      std::memcpy(&length, buffer.data() + at + 16, sizeof length);  // d_reclen
      at += length;
    }
  }
  if (found != expected + 2) fail("a directory does not list what is in it");
}

void drop_caches() {
  const Fd fd(::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), "2", 1) != 1) fail("cannot drop caches");
}

struct Operation {
  bool needs_files = false;   // before each batch
  bool leaves_files = false;  // after it
  bool drops_caches = false;
  void (*one)(const std::string& directory, std::size_t number) = nullptr;
};

const std::map<std::string, Operation>& operations() {
  static const std::map<std::string, Operation> all{
      {"round", {false, true, false, create_and_rename}},
      {"stat", {true, true, false, stat_one}},
      {"stat_uncached", {true, true, true, stat_one}},
      {"open_read_close", {true, true, false, open_read_close}},
      {"unlink", {true, false, false, remove_one}},
      {"readdir", {true, true, false, nullptr}},
  };
  return all;
}

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options), operation_(operations().at(options.operation)) {
    for (std::size_t side = 0; side < 2; ++side) {
      for (unsigned thread = 0; thread < options.threads; ++thread) {
        std::filesystem::create_directory(directory(side, thread));
      }
      // Where files stay from turn to turn they are made once.
      if (operation_.needs_files && operation_.leaves_files) fill(side);
    }
  }

  ~Bench() {
    for (std::size_t side = 0; side < 2; ++side) {
      for (unsigned thread = 0; thread < options_.threads; ++thread) {
        std::filesystem::remove_all(directory(side, thread));
      }
    }
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  Seconds run() {
    return take_turns(
        options_.threads, options_.turns,
        [this](std::size_t side, std::size_t /*turn*/) { prepare(side); },
        [this](std::size_t side, unsigned thread, std::size_t /*turn*/) {
          const std::string where = directory(side, thread);
          if (operation_.one == nullptr) return read_directory(where, options_.batch);
          for (std::size_t i = 0; i < options_.batch; ++i) operation_.one(where, i);
        });
  }

 private:
  [[nodiscard]] std::string directory(std::size_t side, unsigned thread) const {
    return fmt::format("{}/meta_bench.{}.{}", options_.directories.at(side), ::getpid(), thread);
  }

  void for_all(std::size_t side, void (*action)(const std::string&, std::size_t)) const {
    for (unsigned thread = 0; thread < options_.threads; ++thread) {
      for (std::size_t i = 0; i < options_.batch; ++i) action(directory(side, thread), i);
    }
  }

  void fill(std::size_t side) const {
    for_all(side, operation_.one == nullptr ? create_empty : create_and_rename);
  }

  void prepare(std::size_t side) {
    if (operation_.needs_files && !operation_.leaves_files) fill(side);
    if (!operation_.needs_files && filled_.at(side)) for_all(side, remove_one);
    filled_.at(side) = operation_.leaves_files;
    if (operation_.drops_caches) drop_caches();
  }

  const Options& options_;
  const Operation& operation_;
  std::array<bool, 2> filled_{};
};

void run(const Options& options) {
  Seconds seconds = Bench(options).run();
  for (auto& side : seconds) {
    for (double& value : side) value *= 1e6 / static_cast<double>(options.batch);
  }
  fmt::print(R"({{"operation": "{}", "threads": {}, "a": {::.3f}, "b": {::.3f}}})"
             "\n",
             options.operation, options.threads, seconds[0], seconds[1]);
}

}  // namespace
}  // namespace shufflefs::bench

int main(int argc, char** argv) {
  using shufflefs::bench::operations;
  shufflefs::bench::Options options;
  CLI::App app("Calls on names in two directories, turn about");
  app.add_option("--a", options.directories[0])->required();
  app.add_option("--b", options.directories[1])->required();
  app.add_option("--operation", options.operation)
      ->required()
      ->check([](const std::string& wanted) {
        return operations().contains(wanted) ? std::string() : "no such operation";
      });
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 64));
  app.add_option("--batch", options.batch)->check(CLI::Range(1, 1000000));
  app.add_option("--turns", options.turns)->check(CLI::Range(1, 100000));
  CLI11_PARSE(app, argc, argv);
  shufflefs::bench::run(options);
  return EXIT_SUCCESS;
}
