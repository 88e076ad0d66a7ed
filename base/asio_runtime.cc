#include "base/asio_runtime.h"

// Asio's and Beast's code that is no template, compiled once, here.
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/impl/src.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/src.hpp>

#include "base/check.h"

namespace shufflefs {
namespace {

class AsioTimer final : public Timer {
 public:
  explicit AsioTimer(asio::io_context& context) : timer_(context) {}

  Task<bool> wait_for(Duration duration) override {
    timer_.expires_after(duration);
    const auto [error] = co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
    co_return !error;
  }

  void wake() override { timer_.cancel(); }

 private:
  asio::steady_timer timer_;
};

}  // namespace

AsioRuntime::AsioRuntime(std::size_t disk_threads)
    : keep_running_(asio::make_work_guard(context_)), disk_threads_(disk_threads) {}

AsioRuntime::~AsioRuntime() { join_disk_threads(); }

asio::any_io_executor AsioRuntime::executor() { return context_.get_executor(); }

TimePoint AsioRuntime::now() const { return std::chrono::steady_clock::now(); }

WallTime AsioRuntime::wall_clock() const { return std::chrono::system_clock::now(); }

std::unique_ptr<Timer> AsioRuntime::make_timer() { return std::make_unique<AsioTimer>(context_); }

uint64_t AsioRuntime::random() { return random_(); }

void AsioRuntime::post_blocking(std::function<void()> work) {
  asio::post(disk_threads_, std::move(work));
}

void AsioRuntime::run() {
  const ReactorMark mark;
  context_.run();
}

void AsioRuntime::stop() {
  keep_running_.reset();
  context_.stop();
}

void AsioRuntime::join_disk_threads() { disk_threads_.join(); }

}  // namespace shufflefs
