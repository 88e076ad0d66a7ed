// The few frames that a client of an External Shuffle Service sends, and the heads of those that
// come back. Source: spark-facts 1.1 to 1.5. Nothing of net/ is used, so that the program that
// measures it does not share its mistakes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/endian.h"

namespace shufflefs::bench {

// All answers that matter have a head of this size: int64 length, type, then request and length,
// or stream and chunk.
inline constexpr std::size_t kHeadBytes = 21;
inline constexpr std::size_t kHandleBytes = 13;  // the body that answers FetchShuffleBlocks

enum class FrameType : uint8_t {
  kChunkFetchRequest = 0,
  kChunkFetchSuccess = 1,
  kRpcRequest = 3,
  kRpcResponse = 4,
};

class FrameWriter {
 public:
  explicit FrameWriter(std::vector<std::byte>& out) : out_(out), start_(out.size()) {
    number<uint64_t>(0);
  }
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;
  ~FrameWriter() { store_be<uint64_t>(&out_[start_], out_.size() - start_); }

  void byte(uint8_t value) { out_.push_back(static_cast<std::byte>(value)); }
  template <std::integral T>
  void number(T value) {
    const std::size_t at = out_.size();
    out_.resize(at + sizeof(T));
    store_be<T>(&out_[at], value);
  }
  void text(std::string_view text) {
    number<uint32_t>(static_cast<uint32_t>(text.size()));
    for (const char c : text) byte(static_cast<uint8_t>(c));
  }
  void rpc(uint64_t request, uint8_t message) {
    byte(static_cast<uint8_t>(FrameType::kRpcRequest));
    number<uint64_t>(request);
    number<uint32_t>(0);  // the body's length, which receivers do not look at
    byte(message);
  }

 private:
  std::vector<std::byte>& out_;
  std::size_t start_;
};

inline void put_register(std::vector<std::byte>& out, std::string_view app,
                         std::string_view executor, std::string_view directory,
                         uint32_t sub_directories) {
  FrameWriter frame(out);
  frame.rpc(1, 2);
  frame.text(app);
  frame.text(executor);
  frame.number<uint32_t>(1);
  frame.text(directory);
  frame.number<uint32_t>(sub_directories);
  frame.text("org.apache.spark.shuffle.sort.SortShuffleManager");
}

// One partition of `count` maps from `first_map` on.
inline void put_fetch(std::vector<std::byte>& out, uint64_t request, std::string_view app,
                      std::string_view executor, uint32_t shuffle, uint32_t first_map,
                      uint32_t count, uint32_t partition) {
  FrameWriter frame(out);
  frame.rpc(request, 9);
  frame.text(app);
  frame.text(executor);
  frame.number<uint32_t>(shuffle);
  frame.number<uint32_t>(count);
  for (uint32_t i = 0; i < count; ++i) frame.number<uint64_t>(first_map + i);
  frame.number<uint32_t>(count);
  for (uint32_t i = 0; i < count; ++i) {
    frame.number<uint32_t>(1);
    frame.number<uint32_t>(partition);
  }
  frame.byte(0);  // no batch
}

inline void put_chunk_request(std::vector<std::byte>& out, uint64_t stream, uint32_t chunk) {
  FrameWriter frame(out);
  frame.byte(static_cast<uint8_t>(FrameType::kChunkFetchRequest));
  frame.number<uint64_t>(stream);
  frame.number<uint32_t>(chunk);
}

}  // namespace shufflefs::bench
