#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>

#include "base/journal.h"
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
  const LogFormat format = log.format.load();
  const LogFields extra = {{"suppressed", suppressed}};
  if (format == LogFormat::kJson) {
    std::string line = format_log_json(code, fields);
    if (suppressed > 0) line += fmt::format(",\"suppressed\":\"{}\"", suppressed);
    log.logger.log(spdlog_level(level), "{}", line);
    return;
  }
  std::string line = format_log_line(code, fields);
  if (suppressed > 0) line += format_log_line("", extra);
  if (format == LogFormat::kJournald && journal_send(kJournalSocket, level, code, line, fields))
    return;
  log.logger.log(spdlog_level(level), "{}", line);
}

// What is logged, and what whoever looks at the node sees also where the level is above it.
void emit(LogLevel level, std::string_view code, LogFields fields, uint64_t suppressed) {
  if (level != LogLevel::kDebug) recent_events().add(level, code, fields);
  if (log_enabled(level)) write(level, code, fields, suppressed);
}

}  // namespace

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
