// The corpus without libFuzzer, in every test run and so under every sanitizer: each file as it is
// and cut at every length, then a fixed number of inputs made from the corpus by chance. Whole
// connections, which cost as much as a hundred others, are not cut, and are a sixteenth as many.
//
//   fuzz_replay CORPUS [--seed N] [--runs N] [--target NAME]     CORPUS/<target>/<file>
//
// A count ends it and not a clock, so that a slow machine does as much as a fast one. The seed is
// drawn anew each time and printed; with --seed the same inputs come again. The input that is being
// run is in fuzz_replay.input below the working directory: after a crash, what crashed.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/targets.h"

namespace {

using shufflefs::fuzz::Bytes;
using shufflefs::fuzz::mutated;
using shufflefs::fuzz::Random;
using Clock = std::chrono::steady_clock;

Bytes read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// The input at work, in a file that a crash of this process leaves behind.
class AtWork {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{1} << 20U;

  AtWork() : file_(::open(kName, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {
    void* const mapped =
        ::ftruncate(file_.get(), kMostBytes) == 0
            ? ::mmap(nullptr, kMostBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0)
            : MAP_FAILED;
    if (mapped != MAP_FAILED) copy_ = static_cast<std::byte*>(mapped);
  }
  ~AtWork() {
    if (copy_ != nullptr) ::munmap(copy_, kMostBytes);
    ::unlink(kName);
  }
  AtWork(const AtWork&) = delete;
  AtWork& operator=(const AtWork&) = delete;

  // Its length, 8 bytes of this machine, then the bytes.
  void note(std::span<const std::byte> input) {
    const uint64_t size = std::min<std::size_t>(input.size(), kMostBytes - sizeof size);
    if (copy_ == nullptr) return;
    std::memcpy(copy_, &size, sizeof size);
    std::memcpy(copy_ + sizeof size, input.data(), size);
  }

 private:
  static constexpr const char* kName = "fuzz_replay.input";
  shufflefs::Fd file_;
  std::byte* copy_ = nullptr;
};

struct Options {
  std::string corpus;
  uint64_t seed = 0;
  uint64_t runs = 10000;
  std::string only;
};

// False if the target has no corpus.
bool replay(const shufflefs::fuzz::Target& target, const Options& options, AtWork& at_work) {
  const auto begin = Clock::now();
  std::error_code error;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(options.corpus) / target.name, error))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());  // so that the seed alone decides
  std::vector<Bytes> corpus;
  corpus.reserve(paths.size());
  for (const auto& path : paths) corpus.push_back(read(path));

  uint64_t runs = 0;
  const auto run = [&](std::span<const std::byte> input) {
    at_work.note(input);
    target.run(input);
    ++runs;
  };
  for (const Bytes& seed : corpus) {
    run(seed);
    if (target.is_session) continue;
    // Every length of a small file; of a large one as many, spread over it.
    constexpr std::size_t kMostCuts = 64;
    const std::size_t step = seed.size() / kMostCuts + 1;
    for (std::size_t cut = 0; cut < seed.size(); cut += step) run(std::span(seed).first(cut));
  }
  const uint64_t wanted = target.is_session ? options.runs / 16 : options.runs;
  Random random(options.seed);
  for (uint64_t i = 0; i < wanted && !corpus.empty(); ++i) run(mutated(corpus, random));
  std::printf("%-16s %4zu files %8llu runs %6.1f s\n", std::string(target.name).c_str(),
              corpus.size(), static_cast<unsigned long long>(runs),
              std::chrono::duration<double>(Clock::now() - begin).count());
  std::fflush(stdout);
  return !corpus.empty();
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  options.seed = std::random_device()();
  CLI::App app("Runs the fuzz targets over their corpus, and over what chance makes of it");
  app.add_option("corpus", options.corpus)->required();
  app.add_option("--seed", options.seed);
  app.add_option("--runs", options.runs, "inputs made by chance, for each target");
  app.add_option("--target", options.only);
  CLI11_PARSE(app, argc, argv);
  // Above every level: what is wrong with the inputs would be logged a hundred thousand times.
  shufflefs::log_set_level(static_cast<shufflefs::LogLevel>(100));
  std::printf("--seed %llu --runs %llu\n", static_cast<unsigned long long>(options.seed),
              static_cast<unsigned long long>(options.runs));
  std::fflush(stdout);
  bool complete = true;
  AtWork at_work;
  for (const auto& target : shufflefs::fuzz::targets()) {
    if (!options.only.empty() && target.name != options.only) continue;
    if (replay(target, options, at_work)) continue;
    std::fprintf(stderr, "%s has no corpus\n", std::string(target.name).c_str());
    complete = false;
  }
  return complete ? 0 : 1;
}
