#include "fs/request.h"

namespace shufflefs::fs {
namespace {

constexpr uint64_t kResent = uint64_t{1} << 63U;

// libfuse calls the handlers without a word about the request's number; the session and the
// handlers of one request run on one thread.
thread_local RequestId current;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

}  // namespace

RequestId current_request() { return current; }

void note_request(uint64_t unique) {
  current = RequestId{unique & ~kResent, (unique & kResent) != 0};
}

}  // namespace shufflefs::fs
