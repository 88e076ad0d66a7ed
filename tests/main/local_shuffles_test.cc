#include "main/local_shuffles.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <future>

#include "support/run_task.h"
#include "support/temp_dir.h"

namespace shufflefs {

TEST_CASE("local shuffles: a disk that hangs leaves the list of before") {
  const testing::TempDir dir;
  testing::Loop loop;
  MemoryBudget memory(loop.runtime, 64U << 20U);
  Metrics metrics;
  const auto io = make_posix_file_io();
  merge::EngineOptions options;
  options.self = merge::NodeName::parse("node1").value();
  options.data_dirs = {dir.path()};
  merge::Engine engine(loop.runtime, *io, memory, metrics, options);
  REQUIRE(engine.prepare());
  LocalShuffles shuffles(loop.runtime, engine);

  std::promise<void> answers;
  loop.runtime.post_blocking([hangs = answers.get_future().share()] { hangs.wait(); });
  std::filesystem::create_directories(dir / "maps/app/0");
  testing::run_task(loop.runtime, shuffles.refresh());
  CHECK(shuffles.last().empty());
  testing::run_task(loop.runtime, shuffles.refresh());  // no second job
  answers.set_value();
  testing::run_task(loop.runtime, shuffles.refresh());
  REQUIRE(shuffles.last().size() == 1);
  CHECK(to_string(shuffles.last().front()) == "app/0");
  loop.runtime.join_disk_threads();
}

}  // namespace shufflefs
