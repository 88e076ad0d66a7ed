#include "main/partition_view.h"

#include <fmt/format.h>

#include "main/api_client.h"
#include "main/json_read.h"

namespace shufflefs {
namespace {

namespace json = boost::json;
using namespace json_read;  // NOLINT(google-build-using-namespace)

constexpr auto kPatience = std::chrono::seconds(20);

}  // namespace

PartitionView partition_view(const json::value& value) {
  return {number(value, "partition"), number(value, "bytes"),      number(value, "merged_bytes"),
          number(value, "blocks"),    number(value, "maps"),       number(value, "maps_merged"),
          text(value, "owner"),       texts(value, "unreachable"), text(value, "incomplete")};
}

BlockView block_view(const json::value& value) {
  return {number(value, "map"),     number(value, "offset"), number(value, "bytes"),
          text(value, "merged_at"), text(value, "crc32c"),   text(value, "origin")};
}

Status fetch_pages(const HostPort& address, const std::string& path,
                   const std::function<void(const json::value&)>& page) {
  for (uint64_t from = 0;;) {
    TRY_ASSIGN(
        const json::value answer,
        api_call(net::HttpMethod::kGet, address, fmt::format("{}?from={}", path, from), kPatience));
    page(answer);
    const uint64_t next = number(answer, "next");
    if (next <= from) return ok();
    from = next;
  }
}

Result<std::vector<merge::ShuffleKey>> fetch_shuffle_names(const HostPort& address) {
  std::vector<merge::ShuffleKey> names;
  for (std::string after;;) {
    TRY_ASSIGN(
        const json::value answer,
        api_call(net::HttpMethod::kGet, address,
                 after.empty() ? "/api/v1/names" : "/api/v1/names?after=" + after, kPatience));
    const std::size_t before = names.size();
    for (const std::string& name : list(answer, "shuffles", [](const json::value& item) {
           return fmt::format("{}/{}", text(item, "app"), number(item, "shuffle"));
         })) {
      TRY_ASSIGN(merge::ShuffleKey key, merge::parse_shuffle_key(name));
      names.push_back(std::move(key));
    }
    after = text(answer, "next");
    if (after.empty() || names.size() == before) return names;
  }
}

}  // namespace shufflefs
