// What one shuffle service may use, and the count of what it does. At a limit the connection that
// asks for more is closed, which Spark's clients answer with a retry, and a metric counts it.
// EssMetrics is made in server.cc.
//
// Threads: options are constant; Usage and EssMetrics may be used from any. Cost: one relaxed
// atomic add per event.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/metrics.h"
#include "base/result.h"
#include "base/runtime.h"

namespace shufflefs::net::ess {

// Defaults are what production uses; tests shorten them.
struct EssLimits {
  std::size_t connections = 8192;
  // For what all clients together have asked and not yet got: unfinished frames and lists of
  // blocks.
  uint64_t request_bytes = 128ULL << 20U;
  // One frame of a client. FetchShuffleBlocks of 100,000 blocks is 1.6 MB.
  std::size_t frame_bytes = std::size_t{16} << 20U;
  std::size_t streams_per_connection = 16384;
  // More chunk requests than this wait in the socket.
  std::size_t queued_chunks = 4096;
  std::size_t open_outputs = 2048;  // two descriptors each
  std::size_t threads_per_disk = 4;

  Duration client_timeout = std::chrono::seconds(120);  // a client that takes nothing
  Duration frame_timeout = std::chrono::seconds(60);    // half a frame
  Duration auth_timeout = std::chrono::seconds(30);
  // The disk: after the first, a sign of life between two frames; after the second, or within a
  // frame after the third, the connection is closed.
  Duration disk_sign_of_life = std::chrono::seconds(30);
  Duration disk_timeout = std::chrono::minutes(10);
  Duration disk_timeout_in_frame = std::chrono::seconds(90);
  Duration watch_interval = std::chrono::seconds(5);
  Duration accept_pause = std::chrono::milliseconds(100);
  Duration stop_timeout = std::chrono::seconds(5);
};

struct EssMetrics {
  explicit EssMetrics(Metrics& metrics);
  Counter& connections;
  Counter& connections_refused;
  Counter& limit_closes;
  Counter& protocol_errors;
  Counter& auth_failures;
  Counter& slow_clients;
  Counter& slow_disks;
  Counter& signs_of_life;
  Counter& requests;
  Counter& requests_failed;
  Counter& registrations;
  Counter& chunks;
  Counter& chunks_failed;
  Counter& chunk_bytes;
  Counter& cold_chunks;
  Counter& read_ahead_bytes;
  Histogram& rpc_seconds;
  Histogram& chunk_seconds;  // from the asking to the first byte
};

// A share of EssLimits::request_bytes, given back by the destructor. Move-only.
class Usage {
 public:
  explicit Usage(uint64_t max) : max_(max) {}
  Usage(const Usage&) = delete;
  Usage& operator=(const Usage&) = delete;

  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept
        : usage_(std::exchange(other.usage_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Share& operator=(Share&& other) noexcept {
      std::swap(usage_, other.usage_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() {
      if (usage_ != nullptr) usage_->used_.fetch_sub(bytes_, std::memory_order_relaxed);
    }
    // False if there is not so much; then the share is as it was.
    [[nodiscard]] bool resize(Usage& usage, uint64_t bytes) {
      if (bytes > bytes_) {
        const uint64_t more = bytes - bytes_;
        if (usage.used_.fetch_add(more, std::memory_order_relaxed) + more > usage.max_) {
          usage.used_.fetch_sub(more, std::memory_order_relaxed);
          return false;
        }
      } else {
        usage.used_.fetch_sub(bytes_ - bytes, std::memory_order_relaxed);
      }
      usage_ = &usage;
      bytes_ = bytes;
      return true;
    }

   private:
    Usage* usage_ = nullptr;
    uint64_t bytes_ = 0;
  };

  [[nodiscard]] uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t max() const { return max_; }
  // Why so many bytes were refused to `what`.
  [[nodiscard]] Error refused(std::string_view what, uint64_t bytes) const;

 private:
  const uint64_t max_;
  std::atomic<uint64_t> used_{0};
};

}  // namespace shufflefs::net::ess
