// Result<T>: a value or an Error. Boost.System's result, so that nothing is thrown on the data
// path.
//
//   Result<Fd> open_it();
//   TRY_ASSIGN(Fd fd, open_it());            // in functions that return a Result
//   CO_TRY_ASSIGN(auto n, co_await read());  // in coroutines that return a Result
#pragma once

#include <boost/system/result.hpp>
#include <stdexcept>
#include <utility>

#include "base/error.h"

namespace shufflefs {

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
