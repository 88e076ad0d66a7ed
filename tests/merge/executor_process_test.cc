#include "merge/executor_process.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <csignal>

#include "base/asio_runtime.h"
#include "base/fd.h"
#include "base/gate.h"
#include "merge/spark_apps.h"
#include "support/fake_commits.h"
#include "support/run_task.h"
#include "support/temp_dir.h"

namespace shufflefs::merge {
namespace {

// A process with an executor's words in its command line, until it is ended.
class FakeExecutor {
 public:
  FakeExecutor(const std::string& app, const std::string& executor,
               const std::vector<std::string>& more = {}) {
    // Not another program in place of the shell, which would not have the words.
    std::vector<std::string> words = {"sh", "-c", "echo; read line; exit 0", "sh"};
    words.insert(words.end(), more.begin(), more.end());
    for (const std::string& word : {std::string("--executor-id"), executor, std::string("--cores"),
                                    std::string("1"), std::string("--app-id"), app})
      words.push_back(word);
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::array<int, 2> input{};
    std::array<int, 2> output{};
    REQUIRE(::pipe2(input.data(), O_CLOEXEC) == 0);
    REQUIRE(::pipe2(output.data(), O_CLOEXEC) == 0);
    const Fd read_end(input[0]);
    const Fd says(output[0]);
    Fd write_end(output[1]);
    input_ = Fd(input[1]);
    posix_spawn_file_actions_t actions;
    REQUIRE(::posix_spawn_file_actions_init(&actions) == 0);
    REQUIRE(::posix_spawn_file_actions_adddup2(&actions, read_end.get(), 0) == 0);
    REQUIRE(::posix_spawn_file_actions_adddup2(&actions, write_end.get(), 1) == 0);
    std::array<char*, 1> environment = {nullptr};
    const int failed =
        ::posix_spawn(&pid_, "/bin/sh", &actions, nullptr, arguments.data(), environment.data());
    ::posix_spawn_file_actions_destroy(&actions);
    REQUIRE(failed == 0);
    // When it says something it has begun to run: only then its words can be seen for certain.
    write_end.reset();
    char line = 0;
    REQUIRE(::read(says.get(), &line, 1) == 1);
  }
  ~FakeExecutor() { end(); }
  FakeExecutor(const FakeExecutor&) = delete;
  FakeExecutor& operator=(const FakeExecutor&) = delete;

  void end() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] int32_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
  Fd input_;
};

// Unlike every other process's of this machine.
std::string own_app(const char* name) { return fmt::format("app-{}-{}", ::getpid(), name); }

// Long, as other tests may keep all processors busy: no search here is about time.
constexpr SearchLimits kPatient{.time = std::chrono::minutes(5)};

TEST_CASE("executors are found by their words, and their ends are seen") {
  const std::string app = own_app("found");
  FakeExecutor first(app, "1");
  FakeExecutor second(app, "2", {"--executor-id", "9"});  // among the options of the JVM
  const std::vector<WantedProcess> wanted = {
      {app, "1", ::geteuid()}, {app, "2", ::geteuid()}, {app, "3", ::geteuid()}};
  const ProcessesFound found = find_executor_processes(wanted, kPatient);
  CHECK(found.complete);
  REQUIRE(found.marks.size() == 2);
  CHECK(found.marks.at(0).pid == first.pid());
  CHECK(found.marks.at(1).pid == second.pid());

  const ProcessMark mark = found.marks.at(0);
  CHECK_FALSE(is_gone(mark));
  CHECK(is_gone({mark.pid, mark.start_time + 1}));  // the pid is another process's now
  first.end();
  CHECK(is_gone(mark));
  CHECK_FALSE(is_gone(found.marks.at(1)));
}

TEST_CASE("what another user has in his command line is not believed") {
  const std::string app = own_app("user");
  const FakeExecutor executor(app, "1");
  const std::vector<WantedProcess> wanted = {{app, "1", ::geteuid() + 1}};
  CHECK(find_executor_processes(wanted, kPatient).marks.empty());
}

TEST_CASE("a search ends at its limits and says so") {
  const std::string app = own_app("limits");
  // Three arguments, as one has at most 128 KiB.
  const std::string long_word(std::size_t{100} << 10U, 'x');
  const FakeExecutor executor(app, "1", {long_word, long_word, long_word});
  const std::vector<WantedProcess> wanted = {{app, "1", ::geteuid()}};
  SearchLimits limits = kPatient;
  CHECK(find_executor_processes(wanted, limits).marks.empty());
  limits.command_line_bytes *= 2;
  CHECK(find_executor_processes(wanted, limits).marks.size() == 1);

  limits.processes = 1;
  const ProcessesFound few = find_executor_processes(wanted, limits);
  CHECK_FALSE(few.complete);
  CHECK(few.looked_at == 1);
  limits = kPatient;
  limits.time = -std::chrono::milliseconds(1);
  const ProcessesFound none = find_executor_processes(wanted, limits);
  CHECK_FALSE(none.complete);
  CHECK(none.looked_at == 0);
}

struct Fixture {
  Fixture() {
    REQUIRE(io->make_directories(directory / "d0/blockmgr-1"));
    REQUIRE(executors.load());
  }
  ~Fixture() { testing::run_task(runtime, gate.close()); }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  [[nodiscard]] ExecutorRecord record(const std::string& app) const {
    return {app, "1", {"/mnt/local/disk0/blockmgr-1"}, 64, "", 0, {}};
  }
  [[nodiscard]] std::optional<ProcessMark> process_of(const std::string& app) const {
    const ExecutorRef executor = executors.find(app, "1");
    return executor ? executor->process : std::nullopt;
  }

  testing::TempDir directory;
  AsioRuntime runtime{1};
  std::unique_ptr<FileIo> io = make_posix_file_io();
  Executors executors{*io, directory / "executors", LocalDirs({"/mnt"}, {directory / "d0"}, {})};
  Trash trash{runtime, *io, std::chrono::minutes(1)};
  testing::FakeCommits commits;
  ExecutorFinder finder{runtime, *io, executors, kPatient};
  SparkApps apps{{runtime, *io, executors, trash, commits, {}, [this](const Executor& executor) {
                    finder.look_for(executor);
                  }}};
  Gate gate{runtime, "test"};
};

TEST_CASE_METHOD(Fixture, "who registers is answered first and looked for then") {
  const std::string app = own_app("registered");
  const FakeExecutor process(app, "1");
  // Nobody searches yet, and it is answered all the same.
  REQUIRE(testing::run_task(runtime, apps.register_executor(record(app), false)));
  CHECK_FALSE(process_of(app));
  gate.spawn(finder.run());
  testing::run_until(runtime, [&] { return process_of(app).has_value(); });
  CHECK(process_of(app)->pid == process.pid());
  // It is in its file, a moment later.
  testing::run_until(runtime, [&] {
    Executors again{*io, directory / "executors", LocalDirs({"/mnt"}, {directory / "d0"}, {})};
    return again.load() && again.find(app, "1")->process == process_of(app);
  });
}

TEST_CASE_METHOD(Fixture, "at the start those are looked for whose processes are not known") {
  const std::string app = own_app("restart");
  const FakeExecutor process(app, "1");
  REQUIRE(executors.add(record(app), false));
  gate.spawn(finder.run());
  testing::run_until(runtime, [&] { return process_of(app).has_value(); });
  CHECK(process_of(app)->pid == process.pid());
}

TEST_CASE_METHOD(Fixture, "a process found for a former registration is not the new one's") {
  const ExecutorRef before = executors.add(record("app"), false)->executor;
  const ExecutorRef now = executors.add(record("app"), false)->executor;
  executors.set_process(*before, {7, 1});
  CHECK_FALSE(process_of("app"));
  executors.set_process(*now, {8, 2});
  CHECK(process_of("app") == ProcessMark{8, 2});
  CHECK(executors.application_of(directory / "d0/blockmgr-1")->str() == "app");
  CHECK(executors.size() == 1);
}

}  // namespace
}  // namespace shufflefs::merge
