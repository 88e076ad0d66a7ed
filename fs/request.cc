#include "fs/request.h"

namespace shufflefs::fs {
namespace {

// libfuse calls the handlers without a word about the request's number; the session and the
// handlers of one request run on one thread.
thread_local RequestId current;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

}  // namespace

RequestId current_request() { return current; }

void note_request(uint64_t unique) {
  current = RequestId{unique & ~RequestId::kResentBit, (unique & RequestId::kResentBit) != 0};
}

}  // namespace shufflefs::fs
