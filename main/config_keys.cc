#include "main/config_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace shufflefs {
namespace {

constexpr uint64_t kKiB = 1ULL << 10U;
constexpr uint64_t kMiB = 1ULL << 20U;
constexpr uint64_t kGiB = 1ULL << 30U;
constexpr uint64_t kTiB = 1ULL << 40U;
constexpr uint64_t kSecond = 1000;
constexpr uint64_t kHour = 3600 * kSecond;

// A captureless lambda as the function pointer that Target holds.
#define SHUFFLEFS_TARGET(type, member) \
  Target(+[](Settings& settings) -> type& { return settings.member; })

const std::array kKeys = {
    ConfigKey{.name = "node",
              .kind = ValueKind::kName,
              .help = "The name of this node: the same after every restart, different from every "
                      "other node's.",
              .price = "Renaming a node that has data makes its map outputs those of a new node.",
              .target = SHUFFLEFS_TARGET(merge::NodeName, node)},
    ConfigKey{
        .name = "mount",
        .kind = ValueKind::kPath,
        .help = "Where to mount: an empty directory outside of every data directory, made if it is "
                "missing.",
        .price = "Spark's local dir lies below it, so all nodes are simplest with the same one.",
        .target = SHUFFLEFS_TARGET(std::string, mount)},
    ConfigKey{
        .name = "data",
        .kind = ValueKind::kPath,
        .help = "A directory for this node's data, made if it is missing; give one per disk.",
        .price = "Two on one disk halve nothing but its speed; removing one loses what is on it.",
        .target = SHUFFLEFS_TARGET(std::vector<std::string>, data)},
    ConfigKey{
        .name = "peer-listen",
        .kind = ValueKind::kAddress,
        .default_text = "0.0.0.0:7338",
        .help = "Where the other nodes reach this one. Without secret-file, tls-cert and insecure "
                "it is an address of this machine alone: the default becomes 127.0.0.1:7338.",
        .price = "Whoever reaches this port may try to be a node: keep it inside the cluster's "
                 "network.",
        .target = SHUFFLEFS_TARGET(HostPort, peer_listen)},
    ConfigKey{.name = "secret-file",
              .kind = ValueKind::kPath,
              .default_note = "none: nodes do not prove who they are",
              .help = "A file with the secret that all nodes share, readable by its owner alone; a "
                      "node without it is no peer. A second line holds another secret that is "
                      "taken too, while one is being replaced (docs/security.md).",
              .price = "Whoever has it is a node: it reads and writes the shuffle data of "
                       "everybody.",
              .target = SHUFFLEFS_TARGET(std::string, peer_security.secret_file)},
    ConfigKey{.name = "tls-cert",
              .kind = ValueKind::kPath,
              .default_note = "none: nodes speak in the clear",
              .help = "This node's certificate chain (PEM), with its node name among the DNS names "
                      "of the subjectAltName. With it, tls-key and tls-ca nodes speak TLS 1.3 and "
                      "check each other's certificates; the files are read again when they change.",
              .price = "Processor time for every byte between nodes (docs/security.md).",
              .target = SHUFFLEFS_TARGET(std::string, peer_security.tls_cert)},
    ConfigKey{.name = "tls-key",
              .kind = ValueKind::kPath,
              .default_note = "none",
              .help = "The private key of tls-cert (PEM), readable by its owner alone.",
              .price = "Whoever has it can be this node.",
              .target = SHUFFLEFS_TARGET(std::string, peer_security.tls_key)},
    ConfigKey{.name = "tls-ca",
              .kind = ValueKind::kPath,
              .default_note = "none",
              .help = "The authority's certificates (PEM) that other nodes' must be signed by.",
              .price = "Whoever it signs for can be a node: use one of the cluster's own.",
              .target = SHUFFLEFS_TARGET(std::string, peer_security.tls_ca)},
    ConfigKey{.name = "insecure",
              .kind = ValueKind::kSwitch,
              .default_text = "false",
              .help = "Take whoever reaches the peer port for a node, beyond this machine as well.",
              .price = "Everybody on that network reads, writes and drops everybody's shuffle "
                       "data.",
              .target = SHUFFLEFS_TARGET(bool, peer_security.insecure)},
    ConfigKey{
        .name = "members",
        .kind = ValueKind::kMembers,
        .default_note = "nobody",
        .help = "Where to begin: NAME=ADDR:PORT,... or dns:HOST:PORT (a name whose addresses are "
                "nodes, looked up again every few seconds). One node that is up is enough: nodes "
                "tell each other of all others. If this node is listed, its address there is the "
                "one that the others are told.",
        .price = "A node that is listed is a member from then on, also if it is never started: "
                 "its map outputs are waited for until 'shufflefs forget'.",
        .target = SHUFFLEFS_TARGET(std::string, members)},
    ConfigKey{.name = "member-ttl",
              .kind = ValueKind::kDuration,
              .default_text = "10m",
              .least = 1000,
              .most = 365 * 24 * kHour,
              .help = "With members from DNS: a node that DNS does not list any more and that has "
                      "been down for so long has left for good.",
              .price = "Until then partitions with map outputs that are only there cannot be "
                       "read; too short loses those of a node that is only being restarted.",
              .target = SHUFFLEFS_TARGET(std::chrono::milliseconds, member_ttl)},
    ConfigKey{
        .name = "http-listen",
        .kind = ValueKind::kAddress,
        .default_text = "127.0.0.1:7340",
        .help = "Where the page, the API, metrics, health and the client commands are answered. "
                "Beyond loopback it needs http-token-file.",
        .price = "On loopback whoever is on this machine can read everything, and drop shuffles "
                 "unless http-token-file is given.",
        .target = SHUFFLEFS_TARGET(HostPort, http_listen)},
    ConfigKey{
        .name = "http-token-file",
        .kind = ValueKind::kPath,
        .default_note = "none",
        .help = "A file with a token, readable by its owner alone. Who sends it (Authorization: "
                "Bearer TOKEN) may do everything over HTTP; without it nothing can be dropped, "
                "and beyond loopback nothing but /healthz and /readyz is answered.",
        .price = "Commands need the file too (SHUFFLEFS_HTTP_TOKEN_FILE), and a scraper of the "
                 "metrics its text.",
        .target = SHUFFLEFS_TARGET(std::string, http_token_file)},
    ConfigKey{.name = "spark-listen",
              .kind = ValueKind::kAddress,
              .default_text = "0.0.0.0:7337",
              .help = "Where Spark's External Shuffle Service is answered; empty switches it off. "
                      "The port is spark.shuffle.service.port of the applications.",
              .price =
                  "Whoever reaches this port can read shuffle data, unless --spark-secret-file "
                  "is given.",
              .target = SHUFFLEFS_TARGET(HostPort, spark.listen),
              .may_be_empty = true},
    ConfigKey{.name = "spark-allow-dir",
              .kind = ValueKind::kPath,
              .default_note = "none",
              .help = "A directory outside the mount below which executors may have local "
                      "directories: their blocks are served from there, but not merged.",
              .price = "Every file below it that is named like a block can be read through the "
                       "service.",
              .target = SHUFFLEFS_TARGET(std::vector<std::string>, spark.allow_dirs)},
    ConfigKey{.name = "spark-secret-file",
              .kind = ValueKind::kPath,
              .default_note = "none: clients are not asked who they are",
              .help = "A file with the cluster's spark.authenticate.secret, readable by its owner "
                      "alone. With it every client must authenticate, and may encrypt.",
              .price = "Applications without spark.authenticate are refused; encrypted blocks are "
                       "copied and cost processor time.",
              .target = SHUFFLEFS_TARGET(std::string, spark.secret_file)},
    ConfigKey{.name = "client-dir",
              .kind = ValueKind::kPath,
              .default_note = "client/ or ../share/shufflefs/client/ beside the program",
              .help = "Where the jars of the Spark client lie; every mount shows them in "
                      ".shufflefs/client/.",
              .price = "Executors load from there: whoever may write in it runs code in them.",
              .target = SHUFFLEFS_TARGET(std::string, client_dir)},
    ConfigKey{.name = "app-ttl",
              .kind = ValueKind::kDuration,
              .default_text = "0s",
              .least = 0,
              .most = 365 * 24 * kHour,
              .help = "After so much time without a sign of it, a Spark application's directories "
                      "go into the trash and its executors are forgotten; 0 means never.",
              .price = "Too short takes the blocks of an application that is only idle; never "
                       "leaves those of workers that were killed.",
              .target = SHUFFLEFS_TARGET(std::chrono::milliseconds, spark.app_ttl)},
    ConfigKey{.name = "app-quota",
              .kind = ValueKind::kBytes,
              .default_text = "0",
              .least = 0,
              .most = 1024 * kTiB,
              .help = "How many bytes of committed map outputs an application may have on this "
                      "node. Above it, it can make no new file below local/ or maps/ (EDQUOT); "
                      "others are not concerned. 0 means no quota.",
              .price = "Files that are open already go on growing, and what is merged for the "
                       "application is not counted: that gives way by itself.",
              .target = SHUFFLEFS_TARGET(uint64_t, app_quota_bytes)},
    ConfigKey{.name = "spark.connections",
              .kind = ValueKind::kCount,
              .default_text = "8192",
              .least = 1,
              .most = 1'000'000,
              .help = "How many connections of Spark's clients are served; one more is closed.",
              .price = "About 10 KiB each, and a descriptor.",
              .target = SHUFFLEFS_TARGET(uint32_t, spark.connections)},
    ConfigKey{.name = "spark.memory",
              .kind = ValueKind::kBytes,
              .default_text = "128M",
              .least = kMiB,
              .most = 64 * kGiB,
              .help = "How much memory what Spark's clients have asked, and not yet got, may take "
                      "(the lists of blocks; the blocks themselves take none).",
              .price = "Beyond it connections are closed, and the clients try again later.",
              .target = SHUFFLEFS_TARGET(uint64_t, spark.memory_bytes)},
    ConfigKey{.name = "spark.threads",
              .kind = ValueKind::kCount,
              .default_text = "4",
              .least = 1,
              .most = 64,
              .help = "Threads for each disk that send blocks to Spark's clients.",
              .price = "More than the disk can use only seek against each other.",
              .target = SHUFFLEFS_TARGET(uint32_t, spark.threads)},
    ConfigKey{.name = "memory",
              .kind = ValueKind::kBytes,
              .default_text = "512M",
              .least = 32 * kMiB,
              .most = kTiB,
              .help = "The budget for everything that the daemon buffers, divided by purpose "
                      "(docs/architecture.md). At least four times push.max-block-bytes.",
              .price = "Less makes pushes wait for each other; more is taken from the page cache.",
              .target = SHUFFLEFS_TARGET(uint64_t, memory_bytes)},
    ConfigKey{.name = "log-level",
              .kind = ValueKind::kLevel,
              .default_text = "info",
              .help = "What is logged: debug, info, warning or error, and all that is worse.",
              .price =
                  "debug writes several lines per map output. 'shufflefs log-level' changes it "
                  "while the node runs.",
              .target = SHUFFLEFS_TARGET(LogLevel, log_level)},
    ConfigKey{.name = "log-format",
              .kind = ValueKind::kLogFormat,
              .default_text = "text",
              .help = "How events are logged: lines of text or of JSON on the standard error, or "
                      "entries with fields in systemd's journal (SHUFFLEFS_EVENT and others).",
              .price = "With journald nothing is on the standard error but what the journal does "
                       "not take.",
              .target = SHUFFLEFS_TARGET(LogFormat, log_format)},
    ConfigKey{.name = "push.enabled",
              .kind = ValueKind::kSwitch,
              .default_text = "true",
              .help = "Whether this node pushes its map outputs to the owners of their partitions.",
              .price = "Without it nothing of this node is merged: partitions are read block by "
                       "block from here.",
              .target = SHUFFLEFS_TARGET(bool, push.enabled)},
    ConfigKey{.name = "push.chunk-bytes",
              .kind = ValueKind::kBytes,
              .default_text = "2M",
              .least = 64 * kKiB,
              .most = 64 * kMiB,
              .help = "How much of a map output goes to an owner in one message; a larger block is "
                      "a message of its own.",
              .price = "Larger costs memory for each push in flight, smaller costs messages.",
              .target = SHUFFLEFS_TARGET(uint64_t, push.chunk_bytes)},
    ConfigKey{.name = "push.max-block-bytes",
              .kind = ValueKind::kBytes,
              .default_note = "64M, or an eighth of memory if that is less; with push.replicate = "
                              "all a quarter of memory",
              .least = 4 * kKiB,
              .most = 1 * kGiB,
              .help = "A larger block of one map output stays at its origin: reading it there is "
                      "sequential anyway.",
              .price = "Raising it needs memory (four times as much) and merges more; lowering it "
                       "leaves more at home.",
              .target = SHUFFLEFS_TARGET(uint64_t, push.max_block_bytes)},
    ConfigKey{.name = "push.replicate",
              .kind = ValueKind::kReplicate,
              .default_text = "none",
              .help = "all: every block goes to a second node, also those that this node owns "
                      "itself, and Spark's client tells its driver that map outputs survive the "
                      "loss of a node (docs/spark-client.md). The same on all nodes.",
              .price = "The blocks that a node owns itself (one in as many as there are nodes) are "
                       "pushed and stored once more.",
              .target = SHUFFLEFS_TARGET(Replicate, push.replicate)},
    ConfigKey{.name = "push.max-retries",
              .kind = ValueKind::kCount,
              .default_text = "6",
              .least = 0,
              .most = 100,
              .help = "How often a push is tried again, with growing pauses, before its blocks "
                      "stay where they are.",
              .price = "More retries wait longer for an owner that is down.",
              .target = SHUFFLEFS_TARGET(uint32_t, push.max_retries)},
    ConfigKey{.name = "push.jitter",
              .kind = ValueKind::kDuration,
              .default_text = "20ms",
              .least = 0,
              .most = 60 * kSecond,
              .help = "The pushes of a map output start after a random part of this time, so that "
                      "owners are loaded evenly.",
              .price = "It is added to the time until a map output is merged.",
              .target = SHUFFLEFS_TARGET(std::chrono::milliseconds, push.jitter)},
    ConfigKey{.name = "push.per-owner",
              .kind = ValueKind::kCount,
              .default_text = "2",
              .least = 1,
              .most = 64,
              .help = "How many messages may be under way to one owner. Together they have at most "
                      "so many times push.chunk-bytes; an owner that is slow gets less.",
              .price = "A connection each, and memory on both sides.",
              .target = SHUFFLEFS_TARGET(uint32_t, push.per_owner)},
    ConfigKey{.name = "merge.split-bytes",
              .kind = ValueKind::kBytes,
              .default_text = "4G",
              .least = kMiB,
              .most = kTiB,
              .help = "A merged partition goes on in a further file above it, on another disk if "
                      "there is one: no partition fills a disk alone.",
              .price = "A partition of several files is streamed by the daemon instead of being "
                       "read by the kernel.",
              .target = SHUFFLEFS_TARGET(uint64_t, merge_split_bytes)},
    ConfigKey{.name = "disk.reserve",
              .kind = ValueKind::kBytes,
              .default_text = "0",
              .least = 0,
              .most = kTiB,
              .help = "How much of each disk is kept free of merged data. Below it pushes are "
                      "refused; below twice as much merged data is evicted until three times as "
                      "much is free. 0 means 5 % of each disk, at most 10G.",
              .price = "Less lets Spark's own writes meet a full disk earlier; more merges less.",
              .target = SHUFFLEFS_TARGET(uint64_t, disk_reserve_bytes)},
    ConfigKey{.name = "read.peer-timeout",
              .kind = ValueKind::kDuration,
              .default_text = "2s",
              .least = 50,
              .most = 10 * 60 * kSecond,
              .help = "How long a read through the mount waits for another node before it tries "
                      "the next copy or fails.",
              .price = "Shorter fails reads of a node that is only busy; longer makes readers wait "
                       "for one that is dead.",
              .target = SHUFFLEFS_TARGET(std::chrono::milliseconds, read.peer_timeout)},
    ConfigKey{.name = "read.lost-patience",
              .kind = ValueKind::kDuration,
              .default_text = "5s",
              .least = 0,
              .most = 10 * 60 * kSecond,
              .help = "How long a read through the mount goes on asking for a block that only a "
                      "node that does not answer has, before it fails with EIO.",
              .price = "Shorter fails reads while a daemon is being restarted; longer makes "
                       "readers of a node that is gone for good wait for their error.",
              .target = SHUFFLEFS_TARGET(std::chrono::milliseconds, read.lost_patience)},
    ConfigKey{.name = "read.ahead-bytes",
              .kind = ValueKind::kBytes,
              .default_text = "4M",
              .least = 128 * kKiB,
              .most = 256 * kMiB,
              .help = "How far a reader of a remote partition is read ahead of.",
              .price = "Memory for each open remote partition.",
              .target = SHUFFLEFS_TARGET(uint64_t, read.ahead_bytes)},
    ConfigKey{.name = "disk-threads",
              .kind = ValueKind::kCount,
              .default_text = "4",
              .least = 1,
              .most = 256,
              .help = "Threads that wait for disks on behalf of pushes, merges and peers.",
              .price = "More than the disks can use only seek against each other.",
              .target = SHUFFLEFS_TARGET(uint32_t, disk_threads)},
    ConfigKey{.name = "fuse-threads",
              .kind = ValueKind::kCount,
              .default_text = "16",
              .least = 2,
              .most = 1024,
              .help = "Threads that answer the kernel: so many calls through the mount may wait at "
                      "the same time.",
              .price = "A stack each. Reads of remote partitions hold none while they wait.",
              .target = SHUFFLEFS_TARGET(uint32_t, fuse_threads)},
    ConfigKey{.name = "passthrough",
              .kind = ValueKind::kSwitch,
              .default_text = "true",
              .help = "Let the kernel read and write local files directly where it can.",
              .price = "Without it every byte goes through the daemon: for finding faults only.",
              .target = SHUFFLEFS_TARGET(bool, mount_passthrough)},
    ConfigKey{.name = "keep-mount",
              .kind = ValueKind::kSwitch,
              .default_text = "true",
              .help = "Keep the mount, open files and waiting calls when the worker process dies; "
                      "the next worker goes on with them (kernel 6.9 or later).",
              .price = "Off, a worker's death makes the mount anew, and whoever uses it gets "
                       "errors: for finding faults only.",
              .target = SHUFFLEFS_TARGET(bool, keep_mount)},
    ConfigKey{.name = "fuse-io-uring",
              .kind = ValueKind::kSwitch,
              .default_text = "false",
              .help =
                  "Take the kernel's requests by io_uring instead of /dev/fuse, where the kernel "
                  "has it (6.14 or later) and it is switched on: 'echo 1 > "
                  "/sys/module/fuse/parameters/enable_uring'. Calls on names become a little "
                  "faster (docs/benchmarks.md).",
              .price = "Needs keep-mount = false: requests that a ring has taken die with their "
                       "process. A ring and a thread for each processor.",
              .target = SHUFFLEFS_TARGET(bool, fuse_io_uring)},
    ConfigKey{.name = "trash.grace",
              .kind = ValueKind::kDuration,
              .default_text = "60s",
              .least = 0,
              .most = 24 * kHour,
              .help = "How long dropped data stays on disk, for readers that still have it open.",
              .price = "Disk space of what was dropped meanwhile.",
              .target = SHUFFLEFS_TARGET(std::chrono::milliseconds, trash_grace)},
};

#undef SHUFFLEFS_TARGET

}  // namespace

std::string_view placeholder(ValueKind kind) {
  switch (kind) {
    case ValueKind::kName: return "NAME";
    case ValueKind::kPath: return "DIR";
    case ValueKind::kAddress: return "ADDR:PORT";
    case ValueKind::kMembers: return "MEMBERS";
    case ValueKind::kBytes: return "SIZE";
    case ValueKind::kDuration: return "DURATION";
    case ValueKind::kCount: return "NUMBER";
    case ValueKind::kSwitch: return "true|false";
    case ValueKind::kLevel: return "LEVEL";
    case ValueKind::kLogFormat: return "FORMAT";
    case ValueKind::kReplicate: return "none|all";
  }
  return "VALUE";
}

std::span<const ConfigKey> config_keys() { return kKeys; }

const ConfigKey* find_config_key(std::string_view name) {
  const auto it = std::find_if(kKeys.begin(), kKeys.end(),
                               [&](const ConfigKey& key) { return key.name == name; });
  return it == kKeys.end() ? nullptr : &*it;
}

std::string bound_text(const ConfigKey& key, uint64_t bound) {
  if (key.kind == ValueKind::kBytes) {
    if (bound >= kTiB && bound % kTiB == 0) return fmt::format("{}T", bound / kTiB);
    if (bound >= kGiB && bound % kGiB == 0) return fmt::format("{}G", bound / kGiB);
    if (bound >= kMiB && bound % kMiB == 0) return fmt::format("{}M", bound / kMiB);
    if (bound >= kKiB && bound % kKiB == 0) return fmt::format("{}K", bound / kKiB);
  }
  if (key.kind == ValueKind::kDuration) {
    if (bound >= kHour && bound % kHour == 0) return fmt::format("{}h", bound / kHour);
    if (bound % kSecond == 0) return fmt::format("{}s", bound / kSecond);
    return fmt::format("{}ms", bound);
  }
  return fmt::format("{}", bound);
}

std::string range_text(const ConfigKey& key) {
  switch (key.kind) {
    case ValueKind::kBytes:
    case ValueKind::kDuration:
    case ValueKind::kCount:
      return fmt::format("{} to {}", bound_text(key, key.least), bound_text(key, key.most));
    case ValueKind::kSwitch: return "true, false";
    case ValueKind::kLevel: return "debug, info, warning, error";
    case ValueKind::kLogFormat: return "text, json, journald";
    case ValueKind::kReplicate: return "none or all";
    case ValueKind::kAddress: return "an IP address and a port";
    case ValueKind::kName: return "1 to 100 of A-Z a-z 0-9 . _ -";
    case ValueKind::kPath:
    case ValueKind::kMembers: return "";
  }
  return "";
}

}  // namespace shufflefs
