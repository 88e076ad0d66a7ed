// A partition plan as bytes: the next worker goes on with an open partition from it. Same version
// and machine only; not a format for disks or the wire.
//
// Threads: pure. Failure: kCorruptData for bytes that are not such a plan. Cost: linear; about 40
// bytes a block and each node's name once.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "merge/partition_plan.h"

namespace shufflefs::merge {

[[nodiscard]] std::string encode_plan(const PartitionPlan& plan);
[[nodiscard]] Result<PartitionPlan> decode_plan(std::string_view bytes);

}  // namespace shufflefs::merge
