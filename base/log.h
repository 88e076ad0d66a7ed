// One line per event: time, level, a stable dotted event code, key=value pairs. Values with spaces
// are quoted, control characters are escaped, so that no name from the wire can forge a line.
//
//   log_info("push.gave_up", {{"app", app}, {"map", map}, {"reason", error.message}});
//
// Threads: any. Never blocks on anything but stderr. Never one line per request at info.
#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace shufflefs {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// A key with its value already turned into text.
struct LogField {
  template <class T>
  LogField(std::string_view name, const T& field_value)
      : key(name) {  // NOLINT(google-explicit-constructor)
    if constexpr (std::is_convertible_v<T, std::string_view>)
      value = std::string_view(field_value);
    else
      value = fmt::format("{}", field_value);
  }
  std::string_view key;
  std::string value;
};
using LogFields = std::initializer_list<LogField>;

// Sets the threshold and writes to stderr from now on. May be called again at any time.
void log_set_level(LogLevel level);
[[nodiscard]] bool log_enabled(LogLevel level);

void log_event(LogLevel level, std::string_view code, LogFields fields);

inline void log_debug(std::string_view code, LogFields fields = {}) {
  if (log_enabled(LogLevel::kDebug)) log_event(LogLevel::kDebug, code, fields);
}
inline void log_info(std::string_view code, LogFields fields = {}) {
  log_event(LogLevel::kInfo, code, fields);
}
inline void log_warning(std::string_view code, LogFields fields = {}) {
  log_event(LogLevel::kWarning, code, fields);
}
inline void log_error(std::string_view code, LogFields fields = {}) {
  log_event(LogLevel::kError, code, fields);
}

// Lets through the first `kBurst` events of a code in each ten-second window and counts the others;
// the next one that passes carries suppressed=N. For events that a sick peer or disk could cause
// thousands of times a second.
void log_limited(LogLevel level, std::string_view code, LogFields fields);

// The formatted line without time and level; for tests.
[[nodiscard]] std::string format_log_line(std::string_view code, LogFields fields);

}  // namespace shufflefs
