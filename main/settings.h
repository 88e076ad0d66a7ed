// What `shufflefs serve` runs with: plain values, complete and checked. Made by main/config.h; the
// daemon is wired from it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/parse.h"
#include "merge/ids.h"

namespace shufflefs {

// Which blocks are to be on a second node, so that the loss of one loses no map output.
enum class Replicate : uint8_t { kNone, kAll };

// How programs reach the files below local/.
enum class LocalMode : uint8_t {
  kAuto,         // kPassthrough if the kernel has it, else kBind
  kPassthrough,  // through the mount; the kernel reads and writes the disk
  kBind,         // the disk's directory itself, bound over local/disk<i>
  kFuse          // through the mount and the daemon
};

[[nodiscard]] std::string_view to_string(LocalMode mode);

// How connections of local processes to other nodes' shuffle services reach this daemon.
enum class SparkRelay : uint8_t {
  kOff,
  kRedirect  // by nftables, in this network namespace
};

struct PushSettings {
  bool enabled = true;
  uint64_t chunk_bytes = 0;
  uint64_t max_block_bytes = 0;  // a block above it stays at its origin
  Replicate replicate = Replicate::kNone;
  uint32_t max_retries = 0;
  std::chrono::milliseconds jitter{};
  uint32_t per_owner = 0;
  friend bool operator==(const PushSettings&, const PushSettings&) = default;
};

struct ReadSettings {
  std::chrono::milliseconds peer_timeout{};
  std::chrono::milliseconds lost_patience{};
  uint64_t ahead_bytes = 0;
  friend bool operator==(const ReadSettings&, const ReadSettings&) = default;
};

struct SparkSettings {
  HostPort listen;  // no host: off
  SparkRelay relay = SparkRelay::kOff;
  std::vector<std::string> allow_dirs;  // absolute
  std::string secret_file;              // absolute; empty: no authentication
  std::chrono::milliseconds app_ttl{};  // 0: never
  uint32_t connections = 0;
  uint64_t memory_bytes = 0;
  uint32_t threads = 0;  // for each disk
  friend bool operator==(const SparkSettings&, const SparkSettings&) = default;
};

// Files that are read by the worker; the settings hold their names only.
struct PeerSecuritySettings {
  std::string secret_file;  // all absolute; empty: not configured
  std::string tls_cert;
  std::string tls_key;
  std::string tls_ca;
  bool insecure = false;
  friend bool operator==(const PeerSecuritySettings&, const PeerSecuritySettings&) = default;

  [[nodiscard]] bool authenticates() const { return !secret_file.empty() || !tls_cert.empty(); }
};

struct Settings {
  merge::NodeName node;
  std::string mount;              // absolute
  std::vector<std::string> data;  // absolute, at least one, none within another
  HostPort peer_listen;
  PeerSecuritySettings peer_security;
  std::string members;                     // for net::parse_members; empty: nobody to begin with
  std::chrono::milliseconds member_ttl{};  // with DNS
  HostPort http_listen;
  std::string http_token_file;  // absolute; empty: no token
  uint64_t memory_bytes = 0;
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
  PushSettings push;
  ReadSettings read;
  uint32_t disk_threads = 0;
  uint32_t fuse_threads = 0;
  LocalMode local_mode = LocalMode::kAuto;
  bool keep_mount = true;
  bool fuse_io_uring = false;
  bool xattrs = true;
  std::chrono::milliseconds trash_grace{};
  uint64_t merge_split_bytes = 0;
  uint64_t app_quota_bytes = 0;     // 0: none
  uint64_t disk_reserve_bytes = 0;  // 0: by the size of each disk
  std::string client_dir;           // absolute; empty: no client is shown
  SparkSettings spark;
  friend bool operator==(const Settings&, const Settings&) = default;
};

}  // namespace shufflefs
