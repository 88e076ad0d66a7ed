#include "merge/push_reasons.h"

#include <fmt/format.h>

namespace shufflefs::merge {

PushReasons::PushReasons(Metrics& metrics)
    : all_(metrics.counter("shufflefs_push_given_up_chunks_total",
                           "Chunks that will not be merged.")),
      other_(metrics.counter("shufflefs_push_given_up_other_total",
                             "Chunks given up for a reason without a counter of its own.")) {
  for (const Code code :
       {Code::kTimeout, Code::kPeerUnreachable, Code::kNoMemory, Code::kIo, Code::kCorruptData,
        Code::kCorruptIndex, Code::kRefused, Code::kDropped, Code::kTooLarge, Code::kNoSpace}) {
    counters_[code] =
        &metrics.counter(fmt::format("shufflefs_push_given_up_{}_total", to_string(code)),
                         fmt::format("Chunks given up because of: {}.", to_string(code)));
  }
}

void PushReasons::count(Code code) {
  all_.add();
  const auto it = counters_.find(code);
  (it != counters_.end() ? *it->second : other_).add();
}

}  // namespace shufflefs::merge
