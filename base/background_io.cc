#include "base/background_io.h"

#include <linux/ioprio.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace shufflefs {
namespace {

// glibc has no wrappers. Who 0 is the calling thread.
int get() { return static_cast<int>(::syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0)); }
void set(int priority) { (void)::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority); }

}  // namespace

BackgroundIo::BackgroundIo() : before_(get()) { set(IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)); }

BackgroundIo::~BackgroundIo() {
  if (before_ >= 0) set(before_);
}

int BackgroundIo::priority() { return get(); }

}  // namespace shufflefs
