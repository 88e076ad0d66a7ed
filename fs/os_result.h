// The kernel-facing side passes errnos on untouched: a result whose error is just the errno,
// without a text to allocate.
//
// Threads: values. Cost: none. A full Error (base/error.h) is made where somebody will read it.
#pragma once

#include <cerrno>

#include "base/result.h"

namespace shufflefs::fs {

struct Errno {
  int value = 0;
};

[[noreturn]] inline void throw_exception_from_error(const Errno& error,
                                                    const boost::source_location& /*where*/) {
  throw BadResult(errno_error("system call", error.value));
}

template <class T>
class [[nodiscard]] OsResult : public boost::system::result<T, Errno> {
 public:
  using boost::system::result<T, Errno>::result;
};

[[nodiscard]] inline Errno last_errno() { return Errno{errno}; }

}  // namespace shufflefs::fs
