// One line on stderr for each event: time, level, a stable dotted event code, key=value pairs.
// Values with spaces are quoted; control characters and bytes that are not UTF-8 are escaped
// (base/escape.h), so that no name from the wire can forge a line. main/events.cc says what each
// code means; a test compares it with the sources.
//
//   log_warning("push.gave_up", {{"app", app}, {"map", map}, {"reason", error.message}});
//
// Ten warnings or errors of a code pass in ten seconds, so that a sick disk or peer cannot fill the
// log. The rest are counted: the next one that passes carries suppressed=N, or an event
// log.suppressed does.
//
// Threads: any. Never blocks on anything but stderr. Never one line per request at info.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/result.h"

namespace shufflefs {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// "debug", "info", "warning", "error".
[[nodiscard]] std::string_view to_string(LogLevel level);
[[nodiscard]] std::optional<LogLevel> parse_log_level(std::string_view text);

// kText: lines for people; kJson: an object on each line, all values as text.
enum class LogFormat { kText, kJson };

// "text", "json".
[[nodiscard]] std::string_view to_string(LogFormat format);
[[nodiscard]] std::optional<LogFormat> parse_log_format(std::string_view text);

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

// Both may be called again at any time.
void log_set_level(LogLevel level);
void log_set_format(LogFormat format);
[[nodiscard]] LogLevel log_level();
[[nodiscard]] bool log_enabled(LogLevel level);

// Not limited: for what happens once in the life of something.
void log_event(LogLevel level, std::string_view code, LogFields fields);
// Limited as above, at any level.
void log_limited(LogLevel level, std::string_view code, LogFields fields);

inline void log_debug(std::string_view code, LogFields fields = {}) {
  if (log_enabled(LogLevel::kDebug)) log_event(LogLevel::kDebug, code, fields);
}
inline void log_info(std::string_view code, LogFields fields = {}) {
  log_event(LogLevel::kInfo, code, fields);
}
inline void log_warning(std::string_view code, LogFields fields = {}) {
  log_limited(LogLevel::kWarning, code, fields);
}
inline void log_error(std::string_view code, LogFields fields = {}) {
  log_limited(LogLevel::kError, code, fields);
}

// What a line says without its time and level: as text, and as the members of a JSON object
// ("event":"...","key":"value").
[[nodiscard]] std::string format_log_line(std::string_view code, LogFields fields);
[[nodiscard]] std::string format_log_json(std::string_view code, LogFields fields);

// Decides which events of a code pass; the clock is a parameter for tests. Not thread-safe.
class LogLimiter {
 public:
  struct Verdict {
    bool passes = true;
    uint64_t suppressed = 0;  // before it, not told yet
  };
  [[nodiscard]] Verdict ask(std::string_view code, std::chrono::steady_clock::time_point now);
  // A code whose window is over with events that nobody was told of; nothing if there is none.
  [[nodiscard]] std::optional<std::pair<std::string, uint64_t>> take_untold(
      std::chrono::steady_clock::time_point now);

 private:
  struct Window {
    std::chrono::steady_clock::time_point start;
    int passed = 0;
    uint64_t suppressed = 0;
  };
  std::map<std::string, Window, std::less<>> windows_;  // one for each code, so bounded
  bool any_suppressed_ = false;
};

}  // namespace shufflefs
