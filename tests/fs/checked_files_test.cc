// Merged files are compared with their checksums before the kernel may read them by itself.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstdint>
#include <span>
#include <string>

#include "base/crc32c.h"
#include "base/fd.h"
#include "fs/checked_reads.h"
#include "support/temp_dir.h"

namespace shufflefs::fs {
namespace {

// A file of blocks with those lengths, and the plan of it.
struct Merged {
  explicit Merged(std::initializer_list<uint64_t> lengths) {
    for (const uint64_t length : lengths) {
      const std::size_t begin = content.size();
      for (uint64_t i = 0; i < length; ++i)
        content.push_back(static_cast<char>(content.size() * 31 + content.size() / 251));
      const std::span<const char> bytes = std::span(content).subspan(begin);
      plan.blocks.push_back({.map = merge::MapId{plan.blocks.size()},
                             .id = {},
                             .offset = begin,
                             .length = length,
                             .merged = merge::MergedAt{*merge::NodeName::parse("n1"), begin,
                                                       crc32c(std::as_bytes(bytes))},
                             .origin = std::nullopt});
    }
    plan.bytes = content.size();
    write(0, content);
  }
  void write(uint64_t offset, const std::string& bytes) const {
    REQUIRE(::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
            static_cast<ssize_t>(bytes.size()));
  }
  [[nodiscard]] Status check(uint64_t step) const {
    auto check = FileCheck::of(plan);
    REQUIRE(check);
    while (!check->is_done()) {
      if (const Status right = check->go_on(file.get(), step); !right) return right;
    }
    return ok();
  }

  testing::TempDir directory;
  Fd file{::open((directory.path() + "/0.data").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  std::string content;
  merge::PartitionPlan plan;
};

constexpr uint64_t kMiB = 1U << 20U;

}  // namespace

TEST_CASE("a merged file with the right bytes passes, whatever the steps") {
  const Merged merged{3, kMiB, 1, 3 * kMiB + 17, 100, 2 * kMiB};
  CHECK(merged.check(GENERATE(uint64_t{1}, kMiB, 2 * kMiB + 1, 100 * kMiB)));
  CHECK(Merged{}.check(kMiB));
}

TEST_CASE("a merged file with a wrong byte, or that is short, does not pass") {
  const Merged merged{3, kMiB, 1, 3 * kMiB + 17, 100};
  const uint64_t at =
      GENERATE(uint64_t{0}, uint64_t{2}, uint64_t{3}, kMiB + 3, 2 * kMiB, 4 * kMiB + 100);
  const auto wrong = static_cast<char>(merged.content[at] ^ 1);
  merged.write(at, std::string(1, wrong));
  const Status damaged = merged.check(GENERATE(kMiB, 100 * kMiB));
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code == Code::kCorruptData);
  merged.write(at, merged.content.substr(at, 1));
  CHECK(merged.check(kMiB));
  REQUIRE(::ftruncate(merged.file.get(), static_cast<off_t>(merged.content.size() - 1)) == 0);
  CHECK_FALSE(merged.check(kMiB));
}

TEST_CASE("a plan that is not one file cannot be checked as one") {
  Merged merged{10, 20};
  merged.plan.blocks[1].merged->view_offset = 11;
  CHECK_FALSE(FileCheck::of(merged.plan));
  merged.plan.blocks[1].merged.reset();
  CHECK_FALSE(FileCheck::of(merged.plan));
}

TEST_CASE("what was checked is remembered until it is written, or all is to be checked again") {
  const Merged merged{10};
  CheckedFiles checked;
  const FileIdentity before = *identity_of(merged.file.get());
  CHECK_FALSE(checked.contains(before));
  checked.add(before);
  checked.add(before);
  CHECK(checked.contains(*identity_of(merged.file.get())));
  FileIdentity written = before;
  ++written.changed_ns;
  CHECK_FALSE(checked.contains(written));
  checked.clear();
  CHECK_FALSE(checked.contains(before));
}

TEST_CASE("of many checked files those that were not used for long are forgotten") {
  CheckedFiles checked;
  for (uint64_t inode = 0; inode < CheckedFiles::kCapacity; ++inode)
    checked.add({.device = 1, .inode = inode});
  CHECK(checked.contains({.device = 1, .inode = 0}));
  checked.add({.device = 2, .inode = 0});
  CHECK(checked.contains({.device = 1, .inode = 0}));
  CHECK_FALSE(checked.contains({.device = 1, .inode = 1}));
}

}  // namespace shufflefs::fs
