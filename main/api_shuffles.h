// The JSON about single shuffles, partitions and blocks that `ls`, `show` and `verify` ask for.
// Whatever is long comes in pages: "next" says where to go on and is missing on the last page.
//
//   GET /api/v1/names?after=<app>/<shuffle>&count=N          all shuffles that any node knows
//   GET /api/v1/partitions/<app>/<shuffle>?from=N&count=N    the partitions' sizes and owners
//     With more than kMostListed partitions only of those that have bytes, and "may_miss" says why
//     some of these may be missing.
//   GET /api/v1/partitions/<app>/<shuffle>/<p>?from=N&count=N   the blocks of one
//   GET /api/v1/verify/<app>/<shuffle>/<p>?from=N            reads and compares its blocks
//
// Threads: reactor. Ownership: the references outlive it. Cost: a question to every member for each
// partition; a page ends after kPageTime, so that the answer comes in time.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "merge/catalog.h"
#include "merge/engine.h"
#include "merge/partition_sizes.h"
#include "net/admin_http.h"
#include "net/http_message.h"

namespace shufflefs {

class ShuffleApi {
 public:
  ShuffleApi(Runtime& runtime, merge::Engine& engine, merge::Cluster& cluster)
      : runtime_(runtime), engine_(engine), cluster_(cluster) {}

  void add_routes(net::AdminHttp& http);
  // Those of the shuffle's `count` partitions that have bytes; empty if these are very many, or not
  // every node says which.
  [[nodiscard]] Task<std::vector<merge::PartitionId>> with_bytes(merge::ShuffleKey shuffle,
                                                                 uint32_t count);
  // Called on the reactor when a copy was found to be wrong or unreadable.
  void on_findings(std::function<void()> call) { on_findings_ = std::move(call); }

 private:
  [[nodiscard]] Task<net::HttpAnswer> names(net::HttpQuestion question);
  [[nodiscard]] Task<net::HttpAnswer> partitions(net::HttpQuestion question);
  [[nodiscard]] Task<net::HttpAnswer> sizes(merge::ShuffleKey shuffle, uint64_t from,
                                            uint64_t count);
  [[nodiscard]] Task<net::HttpAnswer> blocks(merge::ShuffleKey shuffle,
                                             merge::PartitionId partition, uint64_t from,
                                             uint64_t count);
  [[nodiscard]] Task<net::HttpAnswer> verify(net::HttpQuestion question);

  Runtime& runtime_;
  merge::Engine& engine_;
  merge::Cluster& cluster_;
  std::function<void()> on_findings_;
};

// GET /api/v1/shuffles/<app>/<shuffle>/partitions: how large the partitions are, summed over what
// every node reports, in at most PartitionSizesQuestion::kMostCells cells of equal width.
//
//   first=0   the first partition    count=  how many; all that there are if it is not given
//   cells=400 at most so many; each is a run of `width` partitions
//
// Cost: asks every member twice.
[[nodiscard]] Task<net::HttpAnswer> answer_partition_sizes(
    merge::Catalog& catalog, merge::ShuffleKey key,
    std::map<std::string, std::string, std::less<>> query);

}  // namespace shufflefs
