// GET /api/v1/shuffles/<app>/<shuffle>/partitions: how large the partitions are, summed over what
// every node reports, in at most PartitionSizesQuestion::kMostCells cells of equal width.
//
//   first=0   the first partition    count=  how many; all that there are if it is not given
//   cells=400 at most so many; each is a run of `width` partitions
//
// Threads: reactor. Cost: asks every member twice.
#pragma once

#include <map>
#include <string>

#include "merge/catalog.h"
#include "net/http_message.h"

namespace shufflefs {

[[nodiscard]] Task<net::HttpAnswer> answer_partition_sizes(
    merge::Catalog& catalog, merge::ShuffleKey key,
    std::map<std::string, std::string, std::less<>> query);

}  // namespace shufflefs
