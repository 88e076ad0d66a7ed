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

using enum ValueKind;

// A key as it is written below: `min` and `max` are the range of bytes, counts and milliseconds.
struct Row : ConfigKey {
  Row(std::string_view name_in, ValueKind kind_in, Target target_in,
      std::string_view default_in = {}, uint64_t min = 0, uint64_t max = 0) {
    name = name_in;
    kind = kind_in;
    target = target_in;
    default_text = default_in;
    least = min;
    most = max;
  }
  // A default that depends on others, in words.
  Row& by_default(std::string_view text) {
    default_note = text;
    return *this;
  }
  Row& or_empty() {
    may_be_empty = true;
    return *this;
  }
  Row& means(std::string_view text) {
    help = text;
    return *this;
  }
  Row& costs(std::string_view text) {
    price = text;
    return *this;
  }
};

// Where in the settings a value goes: a captureless lambda as the pointer that Target holds.
#define AT(member) (+[](Settings& settings) -> auto& { return settings.member; })

const auto kKeys = std::to_array<ConfigKey>({
    Row("node", kName, AT(node))
        .means("This node's name, unique and the same after every restart.")
        .costs("A renamed node is a new node: its map outputs count as new."),
    Row("mount", kPath, AT(mount))
        .means("Where to mount: an empty directory outside of the data directories. It is made if "
               "missing.")
        .costs("Use the same path on all nodes."),
    Row("data", kPath, AT(data))
        .means("A directory for this node's data, one for each disk. It is made if missing.")
        .costs("Removing a directory discards its data."),
    Row("peer-listen", kAddress, AT(peer_listen), "0.0.0.0:7338")
        .means("Where other nodes reach this one. Without secret-file, tls-cert and insecure only "
               "loopback is allowed, and the default is 127.0.0.1:7338.")
        .costs("Keep this port inside the cluster's network."),
    Row("secret-file", kFile, AT(peer_security.secret_file))
        .by_default("none")
        .means("A file with the nodes' shared secret, for its owner alone. A second line is valid "
               "too (docs/security.md).")
        .costs("Whoever has it can be a node."),
    Row("tls-cert", kFile, AT(peer_security.tls_cert))
        .by_default("none: no encryption")
        .means("This node's certificate chain (PEM), with its node name as a DNS name. With "
               "tls-key and tls-ca nodes speak TLS 1.3. Changed files are reloaded.")
        .costs("Processor time for every byte (docs/security.md)."),
    Row("tls-key", kFile, AT(peer_security.tls_key))
        .by_default("none")
        .means("The private key of tls-cert (PEM), for its owner alone.")
        .costs("Whoever has it can be this node."),
    Row("tls-ca", kFile, AT(peer_security.tls_ca))
        .by_default("none")
        .means("The authority (PEM) that signs all nodes' certificates.")
        .costs("Whoever it signs for can be a node: use one of the cluster's own."),
    Row("insecure", kSwitch, AT(peer_security.insecure), "false")
        .means("Accept everybody who reaches the peer port as a node.")
        .costs("Anybody there can read, write and drop all shuffle data."),
    Row("members", kMembers, AT(members))
        .by_default("nobody")
        .means("Nodes to begin with: NAME=ADDR:PORT,... or dns:HOST:PORT. One that is up is "
               "enough. If this node is listed, others reach it at that address.")
        .costs("A listed node is a member even if it never starts: reads wait for it until "
               "'shufflefs forget'."),
    Row("member-ttl", kDuration, AT(member_ttl), "10m", 1000, 365 * 24 * kHour)
        .means("With members from DNS: a node that is not listed and has been down for this time "
               "has left.")
        .costs("Longer: reads that need it fail meanwhile. Shorter: a restart may lose it."),
    Row("http-listen", kAddress, AT(http_listen), "127.0.0.1:7340")
        .means("Serves the page, API, metrics, health and commands. Beyond loopback it needs "
               "http-token-file.")
        .costs("On loopback all users can read it, and without http-token-file drop shuffles."),
    Row("http-token-file", kFile, AT(http_token_file))
        .by_default("none")
        .means(
            "A file with a token, for its owner alone. Changes over HTTP then need 'Authorization: "
            "Bearer TOKEN'; beyond loopback everything does but health and the page's files.")
        .costs("Commands (SHUFFLEFS_HTTP_TOKEN_FILE) and scrapers need it too."),
    Row("spark-listen", kAddress, AT(spark.listen), "0.0.0.0:7337")
        .or_empty()
        .means("Spark's External Shuffle Service; empty switches it off. Applications name the "
               "port as spark.shuffle.service.port.")
        .costs(
            "Whoever reaches this port can read shuffle data, unless spark-secret-file is given."),
    Row("spark-relay", kSparkRelay, AT(spark.relay), "off")
        .means("Whether Spark without our client reads merged data (docs/relay.md). redirect: "
               "connections from this machine to other nodes' shuffle service come to this daemon, "
               "by nftables.")
        .costs("It needs CAP_NET_ADMIN, excludes spark-secret-file, and costs a copy of each block "
               "in memory."),
    Row("spark-allow-dir", kPath, AT(spark.allow_dirs))
        .by_default("none")
        .means("Executors may have local directories below it, outside of the mount. Their blocks "
               "are served, not merged.")
        .costs("The service serves every file below it that is named like a block."),
    Row("spark-secret-file", kFile, AT(spark.secret_file))
        .by_default("none: no authentication")
        .means("A file with the cluster's spark.authenticate.secret, for its owner alone. Every "
               "client must then authenticate, and may encrypt.")
        .costs("Applications without spark.authenticate are refused."),
    Row("client-dir", kPath, AT(client_dir))
        .by_default("client/ or ../share/shufflefs/client/ beside the program")
        .means("The jars of the Spark client, shown in .shufflefs/client/ of the mount.")
        .costs("Whoever can write there runs code in executors."),
    Row("app-ttl", kDuration, AT(spark.app_ttl), "0s", 0, 365 * 24 * kHour)
        .means("A Spark application without a sign of life for this time has ended: its "
               "directories go into the trash. 0 means never.")
        .costs("Too short removes an idle application's blocks; 0 leaves those of killed workers."),
    Row("app-quota", kBytes, AT(app_quota_bytes), "0", 0, 1024 * kTiB)
        .means("Bytes of map outputs that an application may have on this node. Above it new files "
               "fail (EDQUOT). 0 means no quota.")
        .costs("Open files still grow; merged data is not counted."),
    Row("spark.connections", kCount, AT(spark.connections), "8192", 1, 1'000'000)
        .means("Connections of Spark's clients; a further one is closed.")
        .costs("About 10 KiB each, and a descriptor."),
    Row("spark.memory", kBytes, AT(spark.memory_bytes), "128M", kMiB, 64 * kGiB)
        .means("Memory for requests of Spark's clients; blocks need none.")
        .costs("Above it connections are closed, and clients retry."),
    Row("spark.threads", kCount, AT(spark.threads), "4", 1, 64)
        .means("Threads for each disk that send blocks to Spark's clients.")
        .costs("Too many only make the disk seek."),
    Row("memory", kBytes, AT(memory_bytes), "512M", 32 * kMiB, kTiB)
        .means("The budget for buffers (docs/memory.md), at least four times push.max-block-bytes.")
        .costs("Less makes pushes wait; more is taken from the page cache."),
    Row("log-level", kLevel, AT(log_level), "info")
        .means("The lowest level that is logged.")
        .costs("debug writes several lines per map output."),
    Row("log-format", kLogFormat, AT(log_format), "text")
        .means("Log lines on standard error: text or JSON.")
        .costs("JSON is a third longer."),
    Row("push.enabled", kSwitch, AT(push.enabled), "true")
        .means("Push this node's map outputs to the owners of their partitions.")
        .costs("Otherwise nothing of this node is merged."),
    Row("push.chunk-bytes", kBytes, AT(push.chunk_bytes), "2M", 64 * kKiB, 64 * kMiB)
        .means("Bytes in one message to an owner; a larger block travels alone.")
        .costs("Larger: memory. Smaller: messages."),
    Row("push.max-block-bytes", kBytes, AT(push.max_block_bytes), "", 4 * kKiB, 1 * kGiB)
        .by_default("64M or memory / 8, the smaller, or memory / 4 with push.replicate = all")
        .means("Larger blocks stay at their origin.")
        .costs("Needs four times as much memory."),
    Row("push.replicate", kReplicate, AT(push.replicate), "none")
        .means("all: every block goes to a second node, even if this node owns it. Spark's client "
               "then reports reliable storage (docs/spark-client.md). Use the same value on all "
               "nodes.")
        .costs("A node's own blocks are pushed and stored once more."),
    Row("push.max-retries", kCount, AT(push.max_retries), "6", 0, 100)
        .means("Retries of a push, with growing pauses, before its blocks stay at their origin.")
        .costs("More retries wait longer for an owner that is down."),
    Row("push.jitter", kDuration, AT(push.jitter), "20ms", 0, 60 * kSecond)
        .means("Pushes start after a random part of this time, to load owners evenly.")
        .costs("Merging starts later."),
    Row("push.per-owner", kCount, AT(push.per_owner), "2", 1, 64)
        .means("Messages of push.chunk-bytes in flight to one owner.")
        .costs("A connection each, and memory on both sides."),
    Row("merge.split-bytes", kBytes, AT(merge_split_bytes), "4G", kMiB, kTiB)
        .means(
            "A larger merged partition continues in a further file, on another disk if possible.")
        .costs("Partitions of several files have no passthrough."),
    Row("disk.reserve", kBytes, AT(disk_reserve_bytes), "0", 0, kTiB)
        .means("Free space kept on each disk. Below it pushes are refused; below twice as much "
               "merged data is evicted until three times as much is free. 0 means 5 % of each "
               "disk, at most 10G.")
        .costs("Less: Spark meets a full disk earlier. More: less is merged."),
    Row("read.peer-timeout", kDuration, AT(read.peer_timeout), "2s", 50, 10 * 60 * kSecond)
        .means("How long a read waits for another node before it tries the next copy or fails.")
        .costs("Shorter: a busy node fails reads. Longer: readers wait for a dead one."),
    Row("read.lost-patience", kDuration, AT(read.lost_patience), "5s", 0, 10 * 60 * kSecond)
        .means(
            "How long a read retries a block that only a silent node has before it fails with EIO.")
        .costs("Shorter: a daemon's restart fails reads. Longer: errors come later."),
    Row("read.ahead-bytes", kBytes, AT(read.ahead_bytes), "4M", 128 * kKiB, 256 * kMiB)
        .means("Read-ahead for a reader of a remote partition.")
        .costs("Memory for each of them."),
    Row("disk-threads", kCount, AT(disk_threads), "4", 1, 256)
        .means("Threads for disk I/O of pushes, merges and peers.")
        .costs("Too many only make the disks seek."),
    Row("fuse-threads", kCount, AT(fuse_threads), "16", 2, 1024)
        .means("Threads that answer the kernel: as many calls may wait at once.")
        .costs("A stack each. Waiting reads of remote partitions need none."),
    Row("local-mode", kLocalMode, AT(local_mode), "auto")
        .means("How programs reach local/ (docs/local-mode.md). passthrough: the kernel reads and "
               "writes the disk (6.9 or later). bind: the disk's directory lies over local/disk<i> "
               "(5.9 or later). fuse: every byte goes through the daemon. auto: passthrough, or "
               "else bind.")
        .costs("bind: no quotas below local/. fuse: a tenth of the disk's speed."),
    Row("keep-mount", kSwitch, AT(keep_mount), "true")
        .means("Keep the mount, open files and waiting calls when the worker dies (kernel 6.9 or "
               "later).")
        .costs("Off, a worker's death breaks open files."),
    Row("fuse-io-uring", kSwitch, AT(fuse_io_uring), "false")
        .means("Take kernel requests by io_uring (6.14 or later, after 'echo 1 > "
               "/sys/module/fuse/parameters/enable_uring'). Calls on names are faster.")
        .costs("Needs keep-mount = false, a ring and a thread per processor."),
    Row("xattrs", kSwitch, AT(xattrs), "true")
        .means("Extended attributes and ACLs on the mount. Without them the kernel asks the daemon "
               "for one thing less before a write after fstat: Spark's own writer is twice as fast "
               "with small blocks (docs/local-mode.md).")
        .costs("No user.shufflefs attributes: only registered executors have an application."),
    Row("trash.grace", kDuration, AT(trash_grace), "60s", 0, 24 * kHour)
        .means("How long dropped data stays on disk for readers that have it open.")
        .costs("Disk space."),
});

#undef AT

}  // namespace

std::string_view placeholder(ValueKind kind) {
  switch (kind) {
    case kName: return "NAME";
    case kPath: return "DIR";
    case kFile: return "FILE";
    case kAddress: return "ADDR:PORT";
    case kMembers: return "MEMBERS";
    case kBytes: return "SIZE";
    case kDuration: return "DURATION";
    case kCount: return "NUMBER";
    case kSwitch: return "true|false";
    case kLevel: return "LEVEL";
    case kLogFormat: return "text|json";
    case kReplicate: return "none|all";
    case kLocalMode: return "MODE";
    case kSparkRelay: return "off|redirect";
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
  if (key.kind == kBytes) {
    if (bound >= kTiB && bound % kTiB == 0) return fmt::format("{}T", bound / kTiB);
    if (bound >= kGiB && bound % kGiB == 0) return fmt::format("{}G", bound / kGiB);
    if (bound >= kMiB && bound % kMiB == 0) return fmt::format("{}M", bound / kMiB);
    if (bound >= kKiB && bound % kKiB == 0) return fmt::format("{}K", bound / kKiB);
  }
  if (key.kind == kDuration) {
    if (bound >= kHour && bound % kHour == 0) return fmt::format("{}h", bound / kHour);
    if (bound % kSecond == 0) return fmt::format("{}s", bound / kSecond);
    return fmt::format("{}ms", bound);
  }
  return fmt::format("{}", bound);
}

std::string range_text(const ConfigKey& key) {
  switch (key.kind) {
    case kBytes:
    case kDuration:
    case kCount:
      return fmt::format("{} to {}", bound_text(key, key.least), bound_text(key, key.most));
    case kSwitch: return "true, false";
    case kLevel: return "debug, info, warning, error";
    case kLogFormat: return "text, json";
    case kReplicate: return "none or all";
    case kLocalMode: return "auto, passthrough, bind, fuse";
    case kSparkRelay: return "off or redirect";
    case kAddress: return "an IP address and a port";
    case kName: return "1 to 100 of A-Z a-z 0-9 . _ -";
    case kPath:
    case kFile:
    case kMembers: return "";
  }
  return "";
}

}  // namespace shufflefs
