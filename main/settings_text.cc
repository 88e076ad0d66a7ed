#include "main/settings_text.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <sstream>

namespace shufflefs {
namespace {

std::string duration_text(std::chrono::milliseconds duration) {
  return fmt::format("{}ms", duration.count());
}

std::string_view level_text(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return "debug";
    case LogLevel::kInfo: return "info";
    case LogLevel::kWarning: return "warning";
    case LogLevel::kError: return "error";
  }
  return "info";
}

}  // namespace

std::string settings_as_toml(const Settings& settings) {
  toml::array data;
  for (const std::string& directory : settings.data) data.push_back(directory);
  // Sizes as text: the option's own form.
  const toml::table table{
      {"node", settings.node.str()},
      {"mount", settings.mount},
      {"data", std::move(data)},
      {"peer-listen", to_string(settings.peer_listen)},
      {"members", settings.members},
      {"http-listen", to_string(settings.http_listen)},
      {"memory", std::to_string(settings.memory_bytes)},
      {"log-level", std::string(level_text(settings.log_level))},
      {"push", toml::table{{"enabled", settings.push.enabled},
                           {"chunk-bytes", std::to_string(settings.push.chunk_bytes)},
                           {"max-block-bytes", std::to_string(settings.push.max_block_bytes)},
                           {"max-retries", static_cast<int64_t>(settings.push.max_retries)},
                           {"jitter", duration_text(settings.push.jitter)}}},
      {"read", toml::table{{"peer-timeout", duration_text(settings.read.peer_timeout)},
                           {"ahead-bytes", std::to_string(settings.read.ahead_bytes)}}},
      {"disk-threads", static_cast<int64_t>(settings.disk_threads)},
      {"fuse-threads", static_cast<int64_t>(settings.fuse_threads)},
      {"passthrough", settings.mount_passthrough},
      {"trash", toml::table{{"grace", duration_text(settings.trash_grace)}}},
  };
  std::ostringstream text;
  text << table << "\n";
  return text.str();
}

}  // namespace shufflefs
