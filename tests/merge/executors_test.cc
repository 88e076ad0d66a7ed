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

// Its directories are not named after the executor.
ExecutorRecord record_of_any_name(const std::string& id) {
  ExecutorRecord made = record("app", "x");
  made.id = id;
  return made;
}

struct Fixture {
  testing::TempDir directory;
  std::unique_ptr<FileIo> io = make_posix_file_io();
  std::string root = directory / "executors";

  [[nodiscard]] std::unique_ptr<Executors> open() {
    auto executors = std::make_unique<Executors>(
        *io, root, LocalDirs({"/mnt"}, {directory / "d0", directory / "d1"}, {}));
    REQUIRE(executors->load());
    return executors;
  }
  [[nodiscard]] std::vector<std::byte> bytes(const std::string& name) {
    return *read_file(*io, root + "/" + name, 1U << 30U);
  }
  void write(const std::string& name, std::span<const std::byte> content) {
    REQUIRE(replace_file(*io, root + "/" + name, content));
  }
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

TEST_CASE_METHOD(Fixture, "a file torn at any byte costs that executor and no other") {
  REQUIRE(open()->add(record("app", "0"), false));
  const std::string others = listing(*open());
  REQUIRE(open()->add(record("app", "1"), false));
  const auto whole = bytes("app/1");
  const std::string all = listing(*open());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write("app/1", std::span(whole).first(size));
    REQUIRE(listing(*open()) == others);
    REQUIRE_FALSE(io->stat(root + "/app/1"));
  }
  REQUIRE(open()->add(record("app", "1"), false));
  CHECK(listing(*open()) == all);
}

TEST_CASE_METHOD(Fixture, "a flipped bit costs that executor, without a crash or a wrong entry") {
  for (int i = 0; i < 4; ++i) REQUIRE(open()->add(record("app", std::to_string(i)), false));
  const std::string all = listing(*open());
  const auto whole = bytes("app/3");
  std::mt19937_64 random(20261121);
  for (int round = 0; round < 2000; ++round) {
    auto damaged = whole;
    const std::size_t bit = random() % (damaged.size() * 8);
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    write("app/3", damaged);
    const std::string left = listing(*open());
    // It is the last one in the list.
    REQUIRE(all.starts_with(left));
    REQUIRE(open()->size() == 3);
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
  // Nothing is kept of what is past.
  CHECK(io->list(root + "/app")->size() == model.size());
}

TEST_CASE_METHOD(Fixture, "the last executor takes the directory of its application with it") {
  const auto executors = open();
  REQUIRE(executors->add(record("app", "1"), false));
  executors->forget(*executors->find("app", "1"));
  CHECK(io->list(root)->empty());
}

TEST_CASE_METHOD(Fixture, "an executor of any name is found again, and stays below its directory") {
  const std::vector<std::string> ids = {"../../d0/x", "5.new", ".", "%2e", "a/b", "\xc3\xa4"};
  for (const std::string& id : ids) REQUIRE(open()->add(record_of_any_name(id), false));
  const auto executors = open();
  for (const std::string& id : ids) CHECK(executors->find("app", id));
  CHECK(io->list(root + "/app")->size() == ids.size());
  CHECK_FALSE(executors->add(record_of_any_name(std::string(70, '/')), false));
}

TEST_CASE_METHOD(Fixture, "the journal of an earlier version is removed") {
  const std::string text = "SFSEXEC1 and records";
  REQUIRE(replace_file(*io, root, std::as_bytes(std::span(text))));
  REQUIRE(open()->add(record("app", "1"), false));
  CHECK(open()->size() == 1);
}

TEST_CASE_METHOD(Fixture, "a file under another's name is not believed") {
  REQUIRE(open()->add(record("app", "1"), false));
  write("app/2", bytes("app/1"));
  REQUIRE(io->make_directories(root + "/other"));
  write("other/1", bytes("app/1"));
  CHECK(open()->size() == 1);
  CHECK_FALSE(io->stat(root + "/app/2"));
}

TEST_CASE_METHOD(Fixture,
                 "of two executors in one directory the later one has it, also after a restart") {
  auto earlier = record("app-2", "1");
  auto later = record("app-1", "1");
  earlier.directories = later.directories = {"/mnt/local/disk0/shared"};
  later.registered_ms = earlier.registered_ms + 1;
  REQUIRE(open()->add(earlier, false));
  REQUIRE(open()->add(later, false));
  CHECK(open()->application_of(directory / "d0/shared")->str() == "app-1");
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
