// The files of a map output as a user, a broken disk or another Spark may have left them: the
// script says what is in the index, the data and the checksum file, and what is asked.
//
// Held to: a range that is given lies within the data file; lengths add up to it; and a diagnosis
// is made of whatever is there.
#include <fcntl.h>
#include <unistd.h>

#include <numeric>

#include "base/asio_runtime.h"
#include "merge/map_output.h"
#include "merge/spark_apps.h"
#include "merge/spark_files.h"
#include "net/ess/block_files.h"
#include "support/fake_commits.h"
#include "support/in_memory.h"
#include "support/temp_dir.h"
#include "tests/fuzz/session.h"
#include "tests/fuzz/state_targets.h"

namespace shufflefs::fuzz {
namespace {

using namespace net::ess;  // NOLINT(google-build-using-namespace): what is fuzzed

constexpr merge::ShuffleId kShuffle{0};
constexpr merge::MapId kMap{0};
constexpr std::array<std::string_view, 4> kAlgorithms = {"ADLER32", "CRC32", "CRC32C", "MD5"};

struct World {
  World() {
    require(io->make_directories(root + "/d0/local/blockmgr-0").has_value());
    require(trash.add_disk(root + "/d0").has_value());
    merge::ExecutorRecord record;
    record.app = "app-1";
    record.id = "0";
    record.directories = {"/mnt/local/disk0/blockmgr-0"};
    record.sub_directories = 1;
    executor = executors.add(record, true).value().executor;
    require(files.find_roots().has_value());
  }

  [[nodiscard]] std::string path_of(const std::string& name) const {
    return files.place_of(*executor, name).path;
  }
  void put(const std::string& name, Input bytes) const {
    const std::string path = path_of(name);
    Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) {  // the first one
      require(io->make_directories(path.substr(0, path.rfind('/'))).has_value());
      file = Fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    }
    require(::write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }

  testing::InMemory in_memory;
  testing::TempDir directory;
  const std::string root = directory / "root";
  AsioRuntime runtime{1};
  std::unique_ptr<FileIo> io = make_posix_file_io();
  merge::Executors executors{*io, "", merge::LocalDirs({"/mnt"}, {root + "/d0/local"}, {})};
  merge::Trash trash{runtime, *io, std::chrono::minutes(1)};
  testing::FakeCommits commits;
  merge::SparkApps apps{{runtime, *io, executors, trash, commits, {}}};
  EssLimits limits{.open_outputs = 4};
  BlockFiles files{runtime, apps, limits};
  merge::ExecutorRef executor;
};

// As it is committed, and read for a push.
void commit(World& world, const std::string& data, const std::string& index) {
  const merge::ShuffleKey key{merge::AppId::parse("app-1").value(), kShuffle};
  const auto inspected = merge::inspect_files(*world.io, key, kMap, data, index);
  if (!inspected) return;
  const merge::MapOutput& output = inspected->output;
  require(merge::check_stamps(*world.io, output).has_value());
  const auto lengths = merge::block_lengths(*world.io, output, 0, output.partition_count);
  require(lengths.has_value() && lengths->size() == output.partition_count);
  require(std::accumulate(lengths->begin(), lengths->end(), uint64_t{0}) == output.total_bytes);
  require(merge::BlockSizes(*lengths) == inspected->sizes);
  const auto sizes = merge::read_sizes(*world.io, output);
  require(sizes.has_value() && *sizes == inspected->sizes);
  for (uint32_t i = 0; i < std::min(output.partition_count, 4U); ++i) {
    std::vector<std::byte> block(std::min<uint64_t>((*lengths)[i], 64));
    require(merge::read_block(*world.io, output, merge::PartitionId{i}, 0, block).has_value());
  }
}

// As the shuffle service sends it.
void serve(World& world, const std::string& data, const std::string& index, Script& script) {
  const auto output = OpenOutput::open(*world.io, world.files.place_of(*world.executor, data),
                                       world.files.place_of(*world.executor, index));
  if (!output) return;
  for (int i = 0; i < 4; ++i) {
    const auto begin = static_cast<uint32_t>(script.number(4));
    const auto range =
        (*output)->range(begin, begin + static_cast<uint32_t>(script.byte()), Wait::kYes);
    require(range.has_value());
    if (!*range) continue;
    require((*range)->offset <= (*output)->size() &&
            (*range)->length <= (*output)->size() - (*range)->offset);
  }
}

}  // namespace

void map_files(Input input) {
  static World world;
  Script script(input);
  DiagnoseCorruption question;
  question.algorithm = kAlgorithms.at(script.byte() % kAlgorithms.size());
  question.reduce = static_cast<int32_t>(script.number(4));
  question.checksum = static_cast<int64_t>(script.number(8));
  const std::string index = spark_file_name(kShuffle, kMap, merge::SparkFile::kIndex);
  const std::string data = spark_file_name(kShuffle, kMap, merge::SparkFile::kData);
  world.put(index, script.piece(2));
  world.put(data, script.piece(2));
  world.put(merge::spark_checksum_name(kShuffle, kMap, "ADLER32"), script.piece(2));
  commit(world, world.path_of(data), world.path_of(index));
  serve(world, data, index, script);
  (void)world.files.diagnose(*world.executor, question);
}

}  // namespace shufflefs::fuzz
