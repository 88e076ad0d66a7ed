// Counters of why chunks were given up, one for each kind of reason.
//
// Threads: any. Ownership: refers to counters of Metrics.
#pragma once

#include <map>

#include "base/error.h"
#include "base/metrics.h"

namespace shufflefs::merge {

class PushReasons {
 public:
  explicit PushReasons(Metrics& metrics);
  void count(Code code);

 private:
  std::map<Code, Counter*> counters_;
  Counter& all_;
  Counter& other_;
};

}  // namespace shufflefs::merge
