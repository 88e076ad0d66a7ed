#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "base/asio_runtime.h"
#include "base/check.h"
#include "base/file_io.h"
#include "support/dies.h"

namespace shufflefs {
namespace {

// Whether the work is found to wait for a disk on the reactor.
template <class Work>
bool is_found(const Work& work) {
#ifdef NDEBUG
  const uint64_t before = reactor_disk_waits();
  work();
  return reactor_disk_waits() > before;
#else
  return testing::dies(work);
#endif
}

void ask_the_disk() { (void)make_posix_file_io()->stat("/"); }

void run_on_reactor(Task<void> (*task)(Runtime&)) {
  AsioRuntime runtime(1);
  asio::co_spawn(runtime.executor(), task(runtime),
                 [&](const std::exception_ptr&) { runtime.stop(); });
  runtime.run();
}

}  // namespace

TEST_CASE("a thread that is no reactor may wait for a disk") {
  CHECK_FALSE(is_found([] { ask_the_disk(); }));
}

TEST_CASE("a reactor that waits for a disk is found") {
  CHECK(is_found([] {
    const ReactorMark mark;
    ask_the_disk();
  }));
  CHECK(is_found([] {
    run_on_reactor([](Runtime&) -> Task<void> {
      ask_the_disk();
      co_return;
    });
  }));
}

TEST_CASE("each call of an open file is found") {
  const auto file = make_posix_file_io()->open("/etc/passwd", OpenMode::kRead);
  REQUIRE(file);
  std::byte byte{};
  CHECK(is_found([&] {
    const ReactorMark mark;
    (void)(*file)->read_at(0, std::span(&byte, 1));
  }));
  CHECK(is_found([&] {
    const ReactorMark mark;
    (void)(*file)->size();
  }));
}

TEST_CASE("what the reactor gives to a disk thread is not found") {
  CHECK_FALSE(is_found([] {
    run_on_reactor([](Runtime& runtime) -> Task<void> {
      (void)co_await offload(runtime, [] {
        ask_the_disk();
        return ok();
      });
    });
  }));
  CHECK_FALSE(is_found([] {
    const ReactorMark mark;
    std::thread(ask_the_disk).join();
  }));
}

TEST_CASE("the mark ends with its object, and may be lifted") {
  CHECK_FALSE(is_found([] {
    {
      const ReactorMark mark;
    }
    ask_the_disk();
  }));
  CHECK_FALSE(is_found([] {
    const ReactorMark mark;
    const AllowDiskWait allowed("a test");
    ask_the_disk();
  }));
  CHECK(is_found([] {
    const ReactorMark mark;
    {
      const AllowDiskWait allowed("a test");
    }
    ask_the_disk();
  }));
}

}  // namespace shufflefs
