// The API's JSON about partitions and blocks (main/api_shuffles.h) as structs, and fetching it page
// by page. Values. Failure: as api_call().
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/parse.h"
#include "base/result.h"
#include "merge/ids.h"

namespace shufflefs {

struct PartitionView {
  uint64_t partition = 0;
  uint64_t bytes = 0;
  uint64_t merged_bytes = 0;
  uint64_t blocks = 0;
  uint64_t maps = 0;
  uint64_t maps_merged = 0;
  std::string owner;  // empty: unknown
  std::vector<std::string> unreachable;
  std::string incomplete;  // empty: complete
};

struct BlockView {
  uint64_t map = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::string merged_at;  // empty: not merged
  std::string crc32c;
  std::string origin;  // empty: it does not answer
};

[[nodiscard]] PartitionView partition_view(const boost::json::value& value);
[[nodiscard]] BlockView block_view(const boost::json::value& value);

// Follows "next" from page to page: `path` is asked with from=N, and `page` gets each answer.
[[nodiscard]] Status fetch_pages(const HostPort& address, const std::string& path,
                                 const std::function<void(const boost::json::value&)>& page);
// All shuffles that any node knows, in order.
[[nodiscard]] Result<std::vector<merge::ShuffleKey>> fetch_shuffle_names(const HostPort& address);

}  // namespace shufflefs
