// A stream: the blocks that one request has asked for, to be fetched chunk by chunk over the
// connection that asked.
//
// Ownership: shared by the session and the chunks that wait to be sent. Threads: see the members.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "merge/executors.h"
#include "net/ess/limits.h"
#include "net/ess/open_output.h"
#include "net/ess/rpc.h"

namespace shufflefs::net::ess {

struct Stream {
  // ---- constant after construction ----
  int64_t id = 0;
  BlockList blocks;
  Usage::Share share;

  // ---- the reactor's ----
  std::vector<bool> asked;  // chunks that have been asked for
  std::size_t left = 0;     // chunks that have not

  // ---- the sender's, of which there is one at a time ----
  merge::ExecutorRef executor;
  std::shared_ptr<OpenOutput> output;  // of map number output_map
  std::size_t output_map = SIZE_MAX;

  // ---- any thread ----
  // The numbers of the maps in the order of their ids; made when somebody first looks for one.
  Mutex mu;
  std::vector<uint32_t> by_map GUARDED_BY(mu);
};

}  // namespace shufflefs::net::ess
