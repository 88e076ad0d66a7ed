#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>

#include "base/escape.h"
#include "base/mutex.h"
#include "base/recent_events.h"

namespace shufflefs {
namespace {

constexpr const char* kTextPattern = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
constexpr const char* kJsonPattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";

// The one piece of process-wide state: a logger is what everything may use without being handed it.
struct Logging {
  Logging() : logger("shufflefs", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    logger.set_pattern(kTextPattern, spdlog::pattern_time_type::utc);
    logger.flush_on(spdlog::level::trace);
    logger.set_level(spdlog::level::trace);  // ours decides
  }
  spdlog::logger logger;
  std::atomic<LogLevel> level{LogLevel::kInfo};
  std::atomic<LogFormat> format{LogFormat::kText};
  Mutex mu;
  LogLimiter limiter GUARDED_BY(mu);
};

Logging& logging() {
  static Logging instance;
  return instance;
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

void write(LogLevel level, std::string_view code, LogFields fields, uint64_t suppressed) {
  Logging& log = logging();
  const bool is_json = log.format.load() == LogFormat::kJson;
  std::string line = is_json ? format_log_json(code, fields) : format_log_line(code, fields);
  if (suppressed > 0) {
    line += is_json ? fmt::format(",\"suppressed\":\"{}\"", suppressed)
                    : fmt::format(" suppressed={}", suppressed);
  }
  log.logger.log(spdlog_level(level), "{}", line);
}

// What is logged, and what whoever looks at the node sees also where the level is above it.
void emit(LogLevel level, std::string_view code, LogFields fields, uint64_t suppressed) {
  if (level != LogLevel::kDebug) recent_events().add(level, code, fields);
  if (log_enabled(level)) write(level, code, fields, suppressed);
}

}  // namespace

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return "debug";
    case LogLevel::kInfo: return "info";
    case LogLevel::kWarning: return "warning";
    case LogLevel::kError: return "error";
  }
  return "info";
}

std::optional<LogLevel> parse_log_level(std::string_view text) {
  for (const LogLevel level :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    if (text == to_string(level)) return level;
  }
  return std::nullopt;
}

std::string_view to_string(LogFormat format) {
  switch (format) {
    case LogFormat::kText: return "text";
    case LogFormat::kJson: return "json";
  }
  return "text";
}

std::optional<LogFormat> parse_log_format(std::string_view text) {
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    if (text == to_string(format)) return format;
  }
  return std::nullopt;
}

std::string format_log_line(std::string_view code, LogFields fields) {
  std::string line(code);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_log_value(line, field.value);
  }
  return line;
}

std::string format_log_json(std::string_view code, LogFields fields) {
  std::string line = "\"event\":";
  append_json_string(line, code);
  for (const LogField& field : fields) {
    line += ',';
    append_json_string(line, field.key);
    line += ':';
    append_json_string(line, field.value);
  }
  return line;
}

LogLimiter::Verdict LogLimiter::ask(std::string_view code,
                                    std::chrono::steady_clock::time_point now) {
  constexpr int kBurst = 10;
  constexpr auto kWindow = std::chrono::seconds(10);
  Window& window = windows_.try_emplace(std::string(code), Window{now}).first->second;
  Verdict verdict;
  if (now - window.start >= kWindow) {
    verdict.suppressed = window.suppressed;
    window = Window{now};
  }
  verdict.passes = window.passed < kBurst;
  if (verdict.passes) {
    ++window.passed;
  } else {
    ++window.suppressed;
    any_suppressed_ = true;
  }
  return verdict;
}

std::optional<std::pair<std::string, uint64_t>> LogLimiter::take_untold(
    std::chrono::steady_clock::time_point now) {
  constexpr auto kWindow = std::chrono::seconds(10);
  if (!any_suppressed_) return std::nullopt;
  any_suppressed_ = false;
  for (auto& [code, window] : windows_) {
    if (window.suppressed == 0) continue;
    any_suppressed_ = true;
    if (now - window.start >= kWindow) return std::pair(code, std::exchange(window.suppressed, 0));
  }
  return std::nullopt;
}

void log_set_level(LogLevel level) { logging().level.store(level); }

void log_set_format(LogFormat format) {
  logging().logger.set_pattern(format == LogFormat::kJson ? kJsonPattern : kTextPattern,
                               spdlog::pattern_time_type::utc);
  logging().format.store(format);
}

LogLevel log_level() { return logging().level.load(); }

bool log_enabled(LogLevel level) { return level >= log_level(); }

void log_event(LogLevel level, std::string_view code, LogFields fields) {
  emit(level, code, fields, 0);
}

void log_limited(LogLevel level, std::string_view code, LogFields fields) {
  if (level == LogLevel::kDebug && !log_enabled(level)) return;
  Logging& log = logging();
  const auto now = std::chrono::steady_clock::now();
  LogLimiter::Verdict verdict;
  std::optional<std::pair<std::string, uint64_t>> untold;
  {
    const MutexLock lock(log.mu);
    verdict = log.limiter.ask(code, now);
    untold = log.limiter.take_untold(now);
  }
  if (verdict.passes) emit(level, code, fields, verdict.suppressed);
  if (untold) {
    log_event(LogLevel::kWarning, "log.suppressed",
              {{"event", untold->first}, {"events", untold->second}});
  }
}

}  // namespace shufflefs
