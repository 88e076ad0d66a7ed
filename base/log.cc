#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <map>
#include <memory>
#include <mutex>

#include "base/recent_events.h"

namespace shufflefs {
namespace {

// The one piece of process-wide state: a logger is what everything may use without being handed it.
spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("shufflefs",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    made->flush_on(spdlog::level::trace);
    made->set_level(spdlog::level::info);
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::err;
}

void append_value(std::string& line, std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" \"=\\") == std::string_view::npos &&
                     std::all_of(value.begin(), value.end(),
                                 [](unsigned char c) { return c >= 0x20 && c != 0x7F; });
  if (plain) {
    line += value;
    return;
  }
  line += '"';
  for (const char raw : value) {
    const auto c = static_cast<unsigned char>(raw);
    if (c == '"' || c == '\\') line += '\\';
    if (c < 0x20 || c == 0x7F)
      line += fmt::format("\\x{:02x}", c);
    else
      line += raw;
  }
  line += '"';
}

}  // namespace

void log_set_level(LogLevel level) { logger().set_level(spdlog_level(level)); }

bool log_enabled(LogLevel level) { return logger().should_log(spdlog_level(level)); }

std::string format_log_line(std::string_view code, LogFields fields) {
  std::string line(code);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  return line;
}

void log_event(LogLevel level, std::string_view code, LogFields fields) {
  if (level != LogLevel::kDebug) recent_events().add(level, code, fields);
  if (log_enabled(level)) logger().log(spdlog_level(level), "{}", format_log_line(code, fields));
}

void log_limited(LogLevel level, std::string_view code, LogFields fields) {
  constexpr int kBurst = 10;
  constexpr auto kWindow = std::chrono::seconds(10);
  struct Window {
    std::chrono::steady_clock::time_point start;
    int passed = 0;
    int suppressed = 0;
  };
  static std::mutex mu;
  static std::map<std::string, Window, std::less<>> windows;
  int suppressed = 0;
  {
    const std::lock_guard lock(mu);
    const auto now = std::chrono::steady_clock::now();
    auto it = windows.try_emplace(std::string(code), Window{now}).first;
    Window& window = it->second;
    if (now - window.start >= kWindow) {
      suppressed = window.suppressed;
      window = Window{now};
    }
    if (window.passed >= kBurst) {
      ++window.suppressed;
      return;
    }
    ++window.passed;
  }
  log_event(level, code, fields);
  if (suppressed > 0) log_event(level, code, {{"suppressed", suppressed}});
}

}  // namespace shufflefs
