#include "base/tail_file.h"

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "support/faulty_io.h"
#include "support/temp_dir.h"

namespace shufflefs {
namespace {

struct Fixture {
  testing::TempDir dir;
  testing::FaultyIo io;
  std::string path = dir / "file";

  std::shared_ptr<TailFile> open(const std::string& name,
                                 const std::shared_ptr<HeldBytes>& held = nullptr) {
    return std::make_shared<TailFile>(*io.open(name, OpenMode::kWriteCreate), held);
  }
  uint64_t on_disk() { return io.stat(path)->size; }
  static std::string text(std::size_t bytes, char letter = 'x') {
    return std::string(bytes, letter);  // NOLINT(modernize-return-braced-init-list)
  }
  static Status write(TailFile& file, uint64_t offset, std::string_view bytes) {
    return file.write_at(offset, std::as_bytes(std::span(bytes)));
  }
  static std::string read(File& file, uint64_t offset, std::size_t bytes) {
    std::string into(bytes, '-');
    const auto n = file.read_at(offset, std::as_writable_bytes(std::span(into)));
    REQUIRE(n);
    into.resize(*n);
    return into;
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "whole pages are written, the rest stays in memory and can be read") {
  const auto file = open(path);
  REQUIRE(write(*file, 0, text(5000, 'a')));
  CHECK(on_disk() == 4096);
  CHECK(*file->size() == 5000);
  REQUIRE(write(*file, 5000, text(40, 'b')));
  CHECK(on_disk() == 4096);
  CHECK(read(*file, 0, 9000) == text(5000, 'a') + text(40, 'b'));
  CHECK(read(*file, 4990, 20) == text(10, 'a') + text(10, 'b'));
  REQUIRE(write(*file, 5040, text(4000, 'c')));
  CHECK(on_disk() == 8192);
  REQUIRE(file->flush());
  CHECK(on_disk() == 9040);
  CHECK(read(*file, 0, 9040) == text(5000, 'a') + text(40, 'b') + text(4000, 'c'));
  // After a flush the file goes on in the middle of a page.
  REQUIRE(write(*file, 9040, text(100, 'd')));
  CHECK(on_disk() == 9040);
  CHECK(read(*file, 9030, 200) == text(10, 'c') + text(100, 'd'));
}

TEST_CASE_METHOD(Fixture, "small pieces are gathered as long as there is memory for them") {
  const auto held = std::make_shared<HeldBytes>(300'000);
  const auto file = open(path, held);
  const auto other = open(dir / "other", held);
  uint64_t end = 0;
  const auto append = [&](std::size_t bytes) {
    REQUIRE(write(*file, end, text(bytes, static_cast<char>('a' + end % 26))));
    end += bytes;
  };
  while (end + 2000 <= TailFile::kMostHeld) append(2000);
  CHECK(on_disk() == 0);
  CHECK(held->now == end);
  CHECK(read(*file, 1999, 2) == text(1, 'a') + text(1, static_cast<char>('a' + 2000 % 26)));
  SECTION("until they are large") {
    append(2000);
    CHECK(on_disk() == end / TailFile::kPage * TailFile::kPage);
    CHECK(held->now == 0);
  }
  SECTION("until a large one comes") {
    append(TailFile::kLargestHeld + 1);
    CHECK(on_disk() == end / TailFile::kPage * TailFile::kPage);
  }
  SECTION("by another file no longer than there is memory") {
    uint64_t at = 0;
    for (; at < 100'000; at += 2000) REQUIRE(write(*other, at, text(2000)));
    CHECK(held->now <= held->most);
    CHECK(io.stat(dir / "other")->size > 60'000);
    CHECK(read(*other, 0, 200'000) == text(at));
  }
  SECTION("not for ever, though more comes") {
    for (int round = 0; round < 20 && on_disk() == 0; ++round) {
      append(1);
      REQUIRE(file->flush_if_idle());
    }
    CHECK(on_disk() == end);
  }
  // And their memory is given back.
  file->discard();
  other->discard();
  CHECK(held->now == 0);
}

TEST_CASE_METHOD(Fixture, "what is held reaches the disk at the end, or when nothing comes") {
  {
    const auto file = open(path);
    REQUIRE(write(*file, 0, "some text"));
    CHECK(on_disk() == 0);
  }
  CHECK(on_disk() == 9);
  const auto file = open(path);
  REQUIRE(write(*file, 9, ", and more"));
  CHECK(file->flush_if_idle());
  CHECK(on_disk() == 9);
  CHECK(file->flush_if_idle());
  CHECK(on_disk() == 19);
  file->stop_holding();
  REQUIRE(write(*file, 19, "!"));
  CHECK(on_disk() == 20);
}

TEST_CASE_METHOD(Fixture, "what has been removed is forgotten") {
  {
    const auto file = open(path);
    REQUIRE(write(*file, 0, "some text"));
    file->discard();
  }
  CHECK(on_disk() == 0);
}

TEST_CASE_METHOD(Fixture, "a rewritten end is the later one, and truncation cuts what is held") {
  const auto file = open(path);
  REQUIRE(write(*file, 0, text(100, 'a')));
  REQUIRE(write(*file, 50, text(10, 'b')));
  CHECK(read(*file, 0, 200) == text(50, 'a') + text(10, 'b') + text(40, 'a'));
  REQUIRE(write(*file, 100, text(10, 'c')));
  REQUIRE(file->truncate(105));
  CHECK(read(*file, 90, 200) == text(10, 'a') + text(5, 'c'));
  CHECK(*file->size() == 105);
  REQUIRE(write(*file, 105, text(5, 'd')));
  REQUIRE(file->flush());
  CHECK(on_disk() == 110);
}

TEST_CASE_METHOD(Fixture, "a failed write loses nothing of what was held before") {
  const auto file = open(path);
  REQUIRE(write(*file, 0, text(100, 'a')));
  io.fail_writes_below[dir.path()] = EIO;
  CHECK_FALSE(write(*file, 100, text(9000, 'b')));
  CHECK_FALSE(file->flush());
  CHECK(read(*file, 0, 100) == text(100, 'a'));
  io.fail_writes_below.clear();
  // The next one takes the failed one's place.
  REQUIRE(write(*file, 100, text(50, 'c')));
  REQUIRE(file->flush());
  CHECK(read(*file, 0, 150) == text(100, 'a') + text(50, 'c'));
  CHECK(read(**io.open(path, OpenMode::kRead), 0, 150) == text(100, 'a') + text(50, 'c'));
}

TEST_CASE_METHOD(Fixture, "nothing of an index is written before what it names") {
  const auto data = open(path);
  const auto index = open(dir / "index");
  REQUIRE(write(*data, 0, text(10)));
  index->flush_after(data);
  REQUIRE(write(*index, 0, text(40)));
  CHECK(on_disk() == 0);
  SECTION("by a flush") {
    REQUIRE(index->flush());
    CHECK(on_disk() == 10);
  }
  SECTION("when a page is full") {
    REQUIRE(write(*index, 40, text(4100)));
    CHECK(on_disk() == 10);
  }
  SECTION("not at all if that fails") {
    io.fail_writes_below[path.substr(0, path.rfind('/'))] = EIO;
    CHECK_FALSE(index->flush());
    io.fail_writes_below.clear();
    CHECK(io.stat(dir / "index")->size == 0);
  }
}

// Calls `before_write` before each write.
class HookedFile final : public File {
 public:
  HookedFile(std::unique_ptr<File> below, std::function<void()> before_write)
      : below_(std::move(below)), before_write_(std::move(before_write)) {}
  Result<std::size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    return below_->read_at(offset, into);
  }
  Status write_at(uint64_t offset, std::span<const std::byte> bytes) override {
    before_write_();
    return below_->write_at(offset, bytes);
  }
  Result<uint64_t> size() override { return below_->size(); }
  Result<FileStamp> stamp() override { return below_->stamp(); }
  Status truncate(uint64_t size) override { return below_->truncate(size); }
  [[nodiscard]] int native_fd() const override { return -1; }

 private:
  const std::unique_ptr<File> below_;
  const std::function<void()> before_write_;
};

TEST_CASE_METHOD(Fixture, "what is appended while an index is being flushed is written first too") {
  const auto data = open(path);
  std::shared_ptr<TailFile> index;
  bool is_first = true;
  // While the second of the files that the index names is flushed, another append comes.
  const auto other = std::make_shared<TailFile>(
      std::make_unique<HookedFile>(*io.open(dir / "other", OpenMode::kWriteCreate), [&] {
        if (!std::exchange(is_first, false)) return;
        REQUIRE(write(*data, 10, text(20)));
        index->flush_after(data);
        REQUIRE(write(*index, 40, text(40)));
      }));
  std::vector<uint64_t> data_bytes;  // on the disk, whenever the index is written
  index = std::make_shared<TailFile>(
      std::make_unique<HookedFile>(*io.open(dir / "index", OpenMode::kWriteCreate),
                                   [&] { data_bytes.push_back(on_disk()); }),
      std::make_shared<HeldBytes>(1U << 20U));
  REQUIRE(write(*data, 0, text(10)));
  REQUIRE(write(*other, 0, text(10)));
  index->flush_after(data);
  index->flush_after(other);
  REQUIRE(write(*index, 0, text(40)));
  REQUIRE(index->flush());
  REQUIRE(io.stat(dir / "index")->size == 80);
  CHECK(data_bytes == std::vector<uint64_t>{30});
}

TEST_CASE_METHOD(Fixture,
                 "many writers, readers and flushes at a time: each byte is where it belongs") {
  const auto held = std::make_shared<HeldBytes>(GENERATE(0, 1 << 20));
  const auto file = open(path, held);
  constexpr uint64_t kBytes = 3U << 20U;
  // The byte at an offset says where it is.
  const auto byte_at = [](uint64_t offset) {
    return static_cast<std::byte>(offset * 2654435761U >> 13U);
  };
  std::mutex mu;
  uint64_t reserved = 0;
  std::map<uint64_t, uint64_t> done;  // ranges that were written
  std::atomic<bool> ended = false;
  std::atomic<uint64_t> wrong = 0;
  std::vector<std::thread> writers;
  writers.reserve(3);
  for (uint64_t t = 0; t < 3; ++t) {
    writers.emplace_back([&, t] {
      std::mt19937_64 random(t);
      while (true) {
        const uint64_t bytes = 1 + random() % (random() % 4 == 0 ? 20'000 : 300);
        uint64_t offset = 0;
        {
          const std::lock_guard lock(mu);
          if (reserved >= kBytes) return;
          offset = reserved;
          reserved += bytes;
        }
        std::vector<std::byte> block(bytes);
        for (uint64_t i = 0; i < bytes; ++i) block[i] = byte_at(offset + i);
        if (!file->write_at(offset, block)) ++wrong;
        const std::lock_guard lock(mu);
        done[offset] = bytes;
      }
    });
  }
  std::thread reader([&] {
    std::mt19937_64 random(99);
    while (!ended) {
      std::pair<uint64_t, uint64_t> range;
      {
        const std::lock_guard lock(mu);
        if (done.empty()) continue;
        const auto it =
            random() % 2 == 0 ? std::prev(done.end()) : done.lower_bound(random() % reserved);
        if (it == done.end()) continue;
        range = *it;
      }
      std::vector<std::byte> block(range.second);
      const auto n = file->read_at(range.first, block);
      if (!n || *n != block.size()) {
        ++wrong;
        continue;
      }
      for (uint64_t i = 0; i < block.size(); ++i)
        wrong += block[i] == byte_at(range.first + i) ? 0 : 1;
      if (random() % 20 == 0 && !file->flush()) ++wrong;
    }
  });
  for (std::thread& writer : writers) writer.join();
  ended = true;
  reader.join();
  CHECK(wrong == 0);
  REQUIRE(file->flush());
  CHECK(held->now == 0);
  const auto bytes = read_file(io, path, 2 * kBytes);
  REQUIRE(bytes);
  REQUIRE(bytes->size() == reserved);
  uint64_t differs = 0;
  for (uint64_t i = 0; i < bytes->size(); ++i) differs += (*bytes)[i] == byte_at(i) ? 0 : 1;
  CHECK(differs == 0);
}

}  // namespace shufflefs
