// A real AdminHttp on a free loopback port, its reactor on a thread of its own, stopped in order.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <thread>

#include "base/asio_runtime.h"
#include "net/admin_http.h"

namespace shufflefs {

class HttpFixture {
 public:
  explicit HttpFixture(net::HttpLimits limits = {}) : server(runtime_, limits) {}
  HttpFixture(const HttpFixture&) = delete;
  HttpFixture& operator=(const HttpFixture&) = delete;
  ~HttpFixture() {
    if (!thread_.joinable()) return;
    asio::co_spawn(runtime_.context(), server.stop(),
                   [this](const std::exception_ptr& /*failure*/) { runtime_.stop(); });
    thread_.join();
  }

  void start() {
    server.listen({"127.0.0.1", 0}).value();
    thread_ = std::thread([this] { runtime_.run(); });
  }
  [[nodiscard]] HostPort address() const { return {"127.0.0.1", server.port()}; }

 private:
  AsioRuntime runtime_{1};

 public:
  net::AdminHttp server;

 private:
  std::thread thread_;
};

}  // namespace shufflefs
