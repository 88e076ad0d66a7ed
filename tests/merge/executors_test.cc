#include "merge/executors.h"

#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "support/temp_dir.h"

namespace shufflefs::merge {
namespace {

ExecutorRecord record(const std::string& app, const std::string& id, std::size_t directories = 2) {
  ExecutorRecord made{app, id, {}, 64, "org.apache.spark.shuffle.sort.SortShuffleManager", 5, {}};
  for (std::size_t i = 0; i < directories; ++i)
    made.directories.push_back(fmt::format("/mnt/local/disk{}/{}-{}", i % 2, app, id));
  return made;
}

struct Fixture {
  testing::TempDir directory;
  std::unique_ptr<FileIo> io = make_posix_file_io();
  std::string journal = directory / "executors";

  [[nodiscard]] std::unique_ptr<Executors> open() {
    auto executors = std::make_unique<Executors>(
        *io, journal, LocalDirs({"/mnt"}, {directory / "d0", directory / "d1"}, {}));
    REQUIRE(executors->load());
    return executors;
  }
  [[nodiscard]] std::vector<std::byte> bytes() { return *read_file(*io, journal, 1U << 30U); }
  void write(std::span<const std::byte> content) { REQUIRE(replace_file(*io, journal, content)); }
};

// What is registered, as text, for comparing.
std::string listing(const Executors& executors) {
  std::string text;
  for (const ExecutorRef& executor : executors.all()) {
    text += fmt::format("{}/{}:", executor->app.str(), executor->id);
    for (const LocalDir& directory : executor->directories) text += " " + directory.registered;
    if (executor->process) text += fmt::format(" pid {}", executor->process->pid);
    text += "\n";
  }
  return text;
}

TEST_CASE_METHOD(Fixture, "registrations are found again after a restart") {
  std::string before;
  {
    const auto executors = open();
    auto with_process = record("app-1", "0");
    with_process.process = ProcessMark{1234, 987654321};
    REQUIRE(executors->add(with_process, false));
    REQUIRE(executors->add(record("app-1", "1", 5), false));
    REQUIRE(executors->add(record("app-2", "0"), false));
    executors->forget(*executors->find("app-2", "0"));
    before = listing(*executors);
  }
  const auto executors = open();
  CHECK(listing(*executors) == before);
  CHECK(executors->size() == 2);
  CHECK(executors->applications() == 1);
  CHECK(executors->find("app-1", "0")->process == ProcessMark{1234, 987654321});
  CHECK_FALSE(executors->find("app-2", "0"));
  CHECK_FALSE(executors->find("app-1", "9"));
}

TEST_CASE_METHOD(Fixture, "a journal torn at any byte loses nothing before the tear") {
  std::vector<std::size_t> ends;
  {
    const auto executors = open();
    for (int i = 0; i < 5; ++i) {
      REQUIRE(executors->add(record("app", std::to_string(i)), false));
      ends.push_back(bytes().size());
    }
  }
  const auto whole = bytes();
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    write(std::span(whole).first(size));
    const auto executors = open();
    const auto expected = static_cast<std::size_t>(
        std::count_if(ends.begin(), ends.end(), [&](std::size_t end) { return end <= size; }));
    REQUIRE(executors->size() == expected);
    // It goes on behind the tear.
    REQUIRE(executors->add(record("later", "1"), false));
    REQUIRE(open()->size() == expected + 1);
  }
}

TEST_CASE_METHOD(Fixture,
                 "a flipped bit ends the journal there, without a crash or a wrong entry") {
  {
    const auto executors = open();
    for (int i = 0; i < 4; ++i) REQUIRE(executors->add(record("app", std::to_string(i)), false));
  }
  const auto whole = bytes();
  const std::string all = listing(*open());
  std::mt19937_64 random(20261121);
  for (int round = 0; round < 2000; ++round) {
    auto damaged = whole;
    const std::size_t bit = random() % (damaged.size() * 8);
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    write(damaged);
    const std::string left = listing(*open());
    // What is left is the beginning of what was there.
    REQUIRE(all.starts_with(left));
    REQUIRE(left.size() < all.size());
  }
}

TEST_CASE_METHOD(Fixture, "any sequence of changes and restarts gives what was last said") {
  std::mt19937_64 random(4711);
  auto executors = open();
  std::map<std::string, std::size_t> model;
  for (int step = 0; step < 3000; ++step) {
    const std::string id = std::to_string(random() % 40);
    switch (random() % 8) {
      case 0:
        if (const auto found = executors->find("app", id)) executors->forget(*found);
        model.erase(id);
        break;
      case 1: executors = open(); break;
      default: {
        const std::size_t directories = 1 + random() % 8;
        REQUIRE(executors->add(record("app", id, directories), false));
        model[id] = directories;
      }
    }
    REQUIRE(executors->size() == model.size());
  }
  executors = open();
  for (const auto& [id, directories] : model)
    REQUIRE(executors->find("app", id)->directories.size() == directories);
  // It was written anew on the way: 2,000 registrations of up to 400 bytes do not stay.
  CHECK(bytes().size() < 512 << 10);
}

TEST_CASE_METHOD(Fixture, "a file that is no journal is put aside, and a new one begun") {
  const std::string text = "not a journal at all";
  write(std::as_bytes(std::span(text)));
  REQUIRE(open()->add(record("app", "1"), false));
  CHECK(open()->size() == 1);
  CHECK(io->stat(journal + ".bad"));
}

TEST_CASE_METHOD(Fixture, "a second registration replaces the first, also its directories") {
  const auto executors = open();
  REQUIRE(executors->add(record("app", "1"), false));
  auto second = record("app", "1");
  second.directories = {"/mnt/local/disk1/other"};
  REQUIRE(executors->add(second, false));
  CHECK(executors->size() == 1);
  CHECK(executors->application_of(directory / "d1/other")->str() == "app");
  CHECK_FALSE(executors->application_of(directory / "d0/app-1"));
}

TEST_CASE_METHOD(Fixture, "registrations that make no sense are refused with the reason") {
  const auto executors = open();
  auto reason = [&](const ExecutorRecord& bad) {
    const auto added = executors->add(bad, false);
    return added ? std::string("accepted") : added.error().message;
  };
  auto bad = record("app", "1");
  bad.directories = {"/etc/passwd.d"};
  CHECK(reason(bad).find("/etc/passwd.d") != std::string::npos);
  bad = record("app", "1");
  bad.directories.clear();
  CHECK(reason(bad).find("0 local directories") != std::string::npos);
  bad = record("app", "1");
  bad.sub_directories = 0;
  CHECK(reason(bad).find("sub-directories") != std::string::npos);
  CHECK(reason(record("../app", "1")).find("../app") != std::string::npos);
  CHECK(reason(record("app", "")).find("id") != std::string::npos);
  CHECK(reason(record("app", "1\n2")).find("id") != std::string::npos);
  CHECK(executors->size() == 0);
}

TEST_CASE_METHOD(Fixture, "with authentication, a directory of another application is refused") {
  const auto executors = open();
  REQUIRE(executors->add(record("app-1", "1"), true));
  auto theirs = record("app-2", "1");
  theirs.directories = record("app-1", "1").directories;
  const auto refused = executors->add(theirs, true);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kPermission);
  CHECK(executors->add(theirs, false));
}

}  // namespace
}  // namespace shufflefs::merge
