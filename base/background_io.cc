#include "base/background_io.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace shufflefs {
namespace {

// ioprio_set(2). Not from <linux/ioprio.h>: since Linux 6.5, and in Debian 12's 6.1.192, it has an
// argument named "class", which is no C++.
constexpr int kWhoProcess = 1;
constexpr int kClassShift = 13;

// glibc has no wrappers. Who 0 is the calling thread.
int get() { return static_cast<int>(::syscall(SYS_ioprio_get, kWhoProcess, 0)); }
void set(int priority) { (void)::syscall(SYS_ioprio_set, kWhoProcess, 0, priority); }

}  // namespace

BackgroundIo::BackgroundIo() : before_(get()) { set(kIdleClass << kClassShift); }

BackgroundIo::~BackgroundIo() {
  if (before_ >= 0) set(before_);
}

int BackgroundIo::priority_class() { return get() >> kClassShift; }

}  // namespace shufflefs
