// Errors are values: a numbered code, the errno that caused it (if any), and a message that names
// the thing and the remedy. Result<T> is a value or an Error (Boost.System's result), so that
// nothing is thrown on the data path. The table in result.cc says which errno the kernel gets.
//
//   Result<Fd> open_it();
//   TRY_ASSIGN(Fd fd, open_it());            // in functions that return a Result
//   CO_TRY_ASSIGN(auto n, co_await read());  // in coroutines that return a Result
#pragma once

#include <boost/system/result.hpp>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace shufflefs {

// Numbers are stable: they go over the wire and into logs. Thousands per folder: 1 base, 2 merge, 3
// net, 4 fs, 5 main.
enum class Code : int {
  kOk = 0,
  kInvalidArgument = 1001,  // a name, number or option that does not parse
  kNotFound = 1002,         // the thing is not here (any more)
  kIo = 1003,               // the disk said no; see sys_errno
  kTimeout = 1004,          // a deadline passed; never converted into another error
  kCancelled = 1005,        // we are stopping
  kNoMemory = 1006,         // the memory budget has no room within the deadline
  kExists = 1007,           // the name is taken
  kPermission = 1008,       // refused by policy
  kInternal = 1099,         // a bug of ours
  kCorruptIndex = 2001,     // an index that contradicts itself or its data
  kCorruptData = 2002,      // bytes that do not match their checksum
  kBlockLost = 2003,        // a block that exists nowhere any more
  kDropped = 2004,          // the shuffle or application was dropped
  kTooLarge = 2005,         // above a configured limit
  kRefused = 2006,          // the owner does not want this; do not retry
  kNoSpace = 2007,          // the node has no room for merged data; another may have
  kPeerUnreachable = 3001,  // no connection, or it broke
  kProtocol = 3002,         // garbage, or a length out of bounds
  kVersion = 3003,          // the peer speaks another protocol version
  kWrongPeer = 3004,        // the peer is not who the member list says
  kMount = 4001,            // the mount could not be made
  kReadOnly = 4002,         // the name is virtual or committed
  kConfig = 5001,           // mistakes in the configuration
};

// The stable text of a code, e.g. "corrupt_index". Unknown numbers (from a newer peer) give
// "unknown".
std::string_view to_string(Code code);

// What the kernel is told. The only place where codes become errnos.
int to_errno(Code code);

struct Error {
  Code code = Code::kInternal;
  int sys_errno = 0;  // 0 if no system call was involved
  std::string message;

  // The errno for a FUSE reply: the original one when a system call failed, else the code's.
  [[nodiscard]] int fuse_errno() const { return sys_errno != 0 ? sys_errno : to_errno(code); }

  // Puts "what: " in front of the message. Used once, where the context is known.
  [[nodiscard]] Error with_context(std::string_view what) &&;
};

[[nodiscard]] Error make_error(Code code, std::string message);

// "<what>: <strerror>", with Code::kNotFound for ENOENT, kExists for EEXIST, otherwise kIo.
[[nodiscard]] Error errno_error(std::string_view what, int saved_errno = errno);

// Thrown by Result::value() on an error: only code that runs before the mount is up may rely on it.
class BadResult : public std::runtime_error {
 public:
  explicit BadResult(const Error& error) : std::runtime_error(error.message) {}
};

// Found by boost::system::result through argument-dependent lookup.
[[noreturn]] inline void throw_exception_from_error(const Error& error,
                                                    const boost::source_location& /*where*/) {
  throw BadResult(error);
}

// Not to be ignored: (void) where nothing can be done about a failure.
template <class T>
class [[nodiscard]] Result : public boost::system::result<T, Error> {
 public:
  using boost::system::result<T, Error>::result;
};
using Status = Result<void>;

inline Status ok() { return {}; }

}  // namespace shufflefs

#define SHUFFLEFS_CONCAT_INNER(a, b) a##b
#define SHUFFLEFS_CONCAT(a, b) SHUFFLEFS_CONCAT_INNER(a, b)

#define SHUFFLEFS_TRY_ASSIGN(tmp, declaration, expression, return_keyword) \
  auto tmp = (expression);                                                 \
  if (!tmp) return_keyword std::move(tmp).error();                         \
  declaration = std::move(*tmp)
#define SHUFFLEFS_TRY(tmp, expression, return_keyword) \
  if (auto tmp = (expression); !tmp) return_keyword std::move(tmp).error()

#define TRY_ASSIGN(declaration, expression) \
  SHUFFLEFS_TRY_ASSIGN(SHUFFLEFS_CONCAT(try_result_, __LINE__), declaration, expression, return)
#define CO_TRY_ASSIGN(declaration, expression) \
  SHUFFLEFS_TRY_ASSIGN(SHUFFLEFS_CONCAT(try_result_, __LINE__), declaration, expression, co_return)
#define TRY(expression) SHUFFLEFS_TRY(SHUFFLEFS_CONCAT(try_result_, __LINE__), expression, return)
#define CO_TRY(expression) \
  SHUFFLEFS_TRY(SHUFFLEFS_CONCAT(try_result_, __LINE__), expression, co_return)
