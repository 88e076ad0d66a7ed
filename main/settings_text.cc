#include "main/settings_text.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <sstream>

namespace shufflefs {
namespace {

std::string duration_text(std::chrono::milliseconds duration) {
  return fmt::format("{}ms", duration.count());
}

}  // namespace

std::string settings_as_toml(const Settings& settings) {
  toml::array data;
  for (const std::string& directory : settings.data) data.push_back(directory);
  toml::array allow_dirs;
  for (const std::string& directory : settings.spark.allow_dirs) allow_dirs.push_back(directory);
  // Sizes as text: the option's own form.
  toml::table table{
      {"node", settings.node.str()},
      {"mount", settings.mount},
      {"data", std::move(data)},
      {"peer-listen", to_string(settings.peer_listen)},
      {"http-listen", to_string(settings.http_listen)},
      {"spark-listen",
       settings.spark.listen.host.empty() ? std::string() : to_string(settings.spark.listen)},
      {"member-ttl", duration_text(settings.member_ttl)},
      {"app-ttl", duration_text(settings.spark.app_ttl)},
      {"app-quota", std::to_string(settings.app_quota_bytes)},
      {"memory", std::to_string(settings.memory_bytes)},
      {"log-level", std::string(to_string(settings.log_level))},
      {"log-format", std::string(to_string(settings.log_format))},
      {"push",
       toml::table{{"enabled", settings.push.enabled},
                   {"chunk-bytes", std::to_string(settings.push.chunk_bytes)},
                   {"max-block-bytes", std::to_string(settings.push.max_block_bytes)},
                   {"replicate", settings.push.replicate == Replicate::kAll ? "all" : "none"},
                   {"max-retries", static_cast<int64_t>(settings.push.max_retries)},
                   {"jitter", duration_text(settings.push.jitter)}}},
      {"read", toml::table{{"peer-timeout", duration_text(settings.read.peer_timeout)},
                           {"lost-patience", duration_text(settings.read.lost_patience)},
                           {"ahead-bytes", std::to_string(settings.read.ahead_bytes)}}},
      {"spark", toml::table{{"connections", static_cast<int64_t>(settings.spark.connections)},
                            {"memory", std::to_string(settings.spark.memory_bytes)},
                            {"threads", static_cast<int64_t>(settings.spark.threads)}}},
      {"disk-threads", static_cast<int64_t>(settings.disk_threads)},
      {"fuse-threads", static_cast<int64_t>(settings.fuse_threads)},
      {"passthrough", settings.mount_passthrough},
      {"keep-mount", settings.keep_mount},
      {"fuse-io-uring", settings.fuse_io_uring},
      {"trash", toml::table{{"grace", duration_text(settings.trash_grace)}}},
  };
  // What is not given is left out: the worker reads this text again (main/worker.h).
  const PeerSecuritySettings& security = settings.peer_security;
  for (const auto& [key, file] :
       {std::pair{"secret-file", &security.secret_file}, std::pair{"tls-cert", &security.tls_cert},
        std::pair{"tls-key", &security.tls_key}, std::pair{"tls-ca", &security.tls_ca}}) {
    if (!file->empty()) table.insert(key, *file);
  }
  table.insert("insecure", security.insecure);
  if (!settings.members.empty()) table.insert("members", settings.members);
  if (!allow_dirs.empty()) table.insert("spark-allow-dir", std::move(allow_dirs));
  if (!settings.http_token_file.empty()) table.insert("http-token-file", settings.http_token_file);
  if (!settings.spark.secret_file.empty())
    table.insert("spark-secret-file", settings.spark.secret_file);
  if (!settings.client_dir.empty()) table.insert("client-dir", settings.client_dir);
  std::ostringstream text;
  text << table << "\n";
  return text.str();
}

}  // namespace shufflefs
