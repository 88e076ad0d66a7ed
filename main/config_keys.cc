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
        .means("The name of this node: the same after every restart, and no other node's.")
        .costs("A renamed node is a new node: its map outputs count as new."),
    Row("mount", kPath, AT(mount))
        .means("Where to mount: an empty directory outside of every data directory. It is made if "
               "it is missing.")
        .costs("Spark's local dirs lie below it: use the same path on all nodes."),
    Row("data", kPath, AT(data))
        .means("A directory for this node's data, made if it is missing; give one for each disk.")
        .costs("Two directories on one disk only halve its throughput. Removing a directory "
               "discards its data."),
    Row("peer-listen", kAddress, AT(peer_listen), "0.0.0.0:7338")
        .means("Where the other nodes reach this one. Without secret-file, tls-cert and insecure "
               "the default becomes 127.0.0.1:7338, and other addresses are refused.")
        .costs("Keep this port inside the cluster's network."),
    Row("secret-file", kFile, AT(peer_security.secret_file))
        .by_default("none: nodes do not prove who they are")
        .means("A file with the secret that all nodes share, readable by its owner alone. A second "
               "line holds another secret that is taken too, while one is replaced "
               "(docs/security.md).")
        .costs("Whoever has it is a node, and reads and writes everybody's shuffle data."),
    Row("tls-cert", kFile, AT(peer_security.tls_cert))
        .by_default("none: nodes speak in the clear")
        .means("This node's certificate chain (PEM), with its node name among the DNS names of the "
               "subjectAltName. With tls-key and tls-ca nodes speak TLS 1.3. Changed files are "
               "read again.")
        .costs("Processor time for every byte between nodes (docs/security.md)."),
    Row("tls-key", kFile, AT(peer_security.tls_key))
        .by_default("none")
        .means("The private key of tls-cert (PEM), readable by its owner alone.")
        .costs("Whoever has it can be this node."),
    Row("tls-ca", kFile, AT(peer_security.tls_ca))
        .by_default("none")
        .means("The certificates (PEM) of the authority that must have signed the other nodes' "
               "certificates.")
        .costs("Whoever it signs for can be a node: use an authority of the cluster's own."),
    Row("insecure", kSwitch, AT(peer_security.insecure), "false")
        .means("Take whoever reaches the peer port for a node, beyond this machine too.")
        .costs("Everybody on that network reads, writes and drops everybody's shuffle data."),
    Row("members", kMembers, AT(members))
        .by_default("nobody")
        .means(
            "Nodes to begin with: NAME=ADDR:PORT,... or dns:HOST:PORT. One that is up is enough; "
            "it tells of all others. If this node is listed, the others reach it at that address.")
        .costs("A listed node is a member even if it never starts: reads wait for it until "
               "'shufflefs forget'."),
    Row("member-ttl", kDuration, AT(member_ttl), "10m", 1000, 365 * 24 * kHour)
        .means("With members from DNS: a node that DNS does not list, and that has been down for "
               "so long, has left for good.")
        .costs("Longer: partitions with map outputs only there cannot be read meanwhile. Shorter: "
               "a restart may lose a node."),
    Row("http-listen", kAddress, AT(http_listen), "127.0.0.1:7340")
        .means("Where the page, the API, metrics, health and the commands are answered. Beyond "
               "loopback it needs http-token-file.")
        .costs("On loopback all users of the machine can read everything, and drop shuffles unless "
               "http-token-file is given."),
    Row("http-token-file", kFile, AT(http_token_file))
        .by_default("none")
        .means("A file with a token, readable by its owner alone. With it, changes over HTTP need "
               "'Authorization: Bearer TOKEN'; beyond loopback everything does but health and the "
               "page's own files.")
        .costs("Commands need the file too (SHUFFLEFS_HTTP_TOKEN_FILE), and a scraper its text."),
    Row("spark-listen", kAddress, AT(spark.listen), "0.0.0.0:7337")
        .or_empty()
        .means("Where Spark's External Shuffle Service is answered; empty switches it off. "
               "Applications name the port as spark.shuffle.service.port.")
        .costs(
            "Whoever reaches this port can read shuffle data, unless spark-secret-file is given."),
    Row("spark-allow-dir", kPath, AT(spark.allow_dirs))
        .by_default("none")
        .means("A directory outside of the mount below which executors may have local directories. "
               "Their blocks are served, but not merged.")
        .costs("Every file below it that is named like a block can be read through the service."),
    Row("spark-secret-file", kFile, AT(spark.secret_file))
        .by_default("none: clients are not asked who they are")
        .means("A file with the cluster's spark.authenticate.secret, readable by its owner alone. "
               "With it every client must authenticate, and may encrypt.")
        .costs("Applications without spark.authenticate are refused; encryption costs processor "
               "time."),
    Row("client-dir", kPath, AT(client_dir))
        .by_default("client/ or ../share/shufflefs/client/ beside the program")
        .means(
            "Where the jars of the Spark client lie. The mount shows them in .shufflefs/client/.")
        .costs("Executors load from there: whoever may write in it runs code in them."),
    Row("app-ttl", kDuration, AT(spark.app_ttl), "0s", 0, 365 * 24 * kHour)
        .means("A Spark application without a sign of life for so long has ended: its directories "
               "go into the trash. 0 means never.")
        .costs("Too short takes the blocks of an idle application; never leaves those of killed "
               "workers."),
    Row("app-quota", kBytes, AT(app_quota_bytes), "0", 0, 1024 * kTiB)
        .means(
            "How many bytes of committed map outputs an application may have on this node. Above "
            "it, it can make no new file below local/ or maps/ (EDQUOT). 0 means no quota.")
        .costs("Open files go on growing, and merged data is not counted."),
    Row("spark.connections", kCount, AT(spark.connections), "8192", 1, 1'000'000)
        .means("How many connections of Spark's clients are served; one more is closed.")
        .costs("About 10 KiB each, and a descriptor."),
    Row("spark.memory", kBytes, AT(spark.memory_bytes), "128M", kMiB, 64 * kGiB)
        .means("Memory for the requests of Spark's clients (lists of blocks; the blocks themselves "
               "take none).")
        .costs("Beyond it connections are closed, and the clients try again."),
    Row("spark.threads", kCount, AT(spark.threads), "4", 1, 64)
        .means("Threads for each disk that send blocks to Spark's clients.")
        .costs("More than the disk can use only seek against each other."),
    Row("memory", kBytes, AT(memory_bytes), "512M", 32 * kMiB, kTiB)
        .means("The budget for everything that the daemon buffers (docs/memory.md). At least four "
               "times push.max-block-bytes.")
        .costs("Less makes pushes wait for each other; more is taken from the page cache."),
    Row("log-level", kLevel, AT(log_level), "info")
        .means("What is logged: debug, info, warning or error, and all that is worse.")
        .costs("debug writes several lines for each map output."),
    Row("log-format", kLogFormat, AT(log_format), "text")
        .means("How events are logged on the standard error: lines of text or of JSON.")
        .costs("JSON is for programs: a line is harder to read and a third longer."),
    Row("push.enabled", kSwitch, AT(push.enabled), "true")
        .means("Whether this node pushes its map outputs to the owners of their partitions.")
        .costs("Without it nothing of this node is merged."),
    Row("push.chunk-bytes", kBytes, AT(push.chunk_bytes), "2M", 64 * kKiB, 64 * kMiB)
        .means("How much goes to an owner in one message; a larger block is a message of its own.")
        .costs("Larger costs memory, smaller costs messages."),
    Row("push.max-block-bytes", kBytes, AT(push.max_block_bytes), "", 4 * kKiB, 1 * kGiB)
        .by_default(
            "64M, or an eighth of memory if that is less; with push.replicate = all a quarter of "
            "memory")
        .means("A larger block stays at its origin: reading it there is sequential anyway.")
        .costs("Raising it needs four times as much memory."),
    Row("push.replicate", kReplicate, AT(push.replicate), "none")
        .means("all: every block goes to a second node, also those that this node owns. Spark's "
               "client then tells its driver that map outputs survive the loss of a node "
               "(docs/spark-client.md). Use the same value on all nodes.")
        .costs("Each node's own blocks are pushed and stored once more."),
    Row("push.max-retries", kCount, AT(push.max_retries), "6", 0, 100)
        .means("How often a push is tried again, with growing pauses, before its blocks stay where "
               "they are.")
        .costs("More retries wait longer for an owner that is down."),
    Row("push.jitter", kDuration, AT(push.jitter), "20ms", 0, 60 * kSecond)
        .means("The pushes of a map output start after a random part of this time, so that owners "
               "are loaded evenly.")
        .costs("It is added to the time until a map output is merged."),
    Row("push.per-owner", kCount, AT(push.per_owner), "2", 1, 64)
        .means("How many messages of push.chunk-bytes may be under way to one owner.")
        .costs("A connection each, and memory on both sides."),
    Row("merge.split-bytes", kBytes, AT(merge_split_bytes), "4G", kMiB, kTiB)
        .means("A merged partition goes on in a further file above it, on another disk if there is "
               "one.")
        .costs("The daemon streams a partition of several files; the kernel reads one of a single "
               "file."),
    Row("disk.reserve", kBytes, AT(disk_reserve_bytes), "0", 0, kTiB)
        .means("How much of each disk is kept free of merged data. Below it pushes are refused; "
               "below twice as much merged data is evicted until three times as much is free. 0 "
               "means 5 % of each disk, at most 10G.")
        .costs("Less lets Spark meet a full disk earlier; more merges less."),
    Row("read.peer-timeout", kDuration, AT(read.peer_timeout), "2s", 50, 10 * 60 * kSecond)
        .means("How long a read through the mount waits for another node before it tries the next "
               "copy or fails.")
        .costs("Shorter fails reads of a busy node; longer makes readers wait for a dead one."),
    Row("read.lost-patience", kDuration, AT(read.lost_patience), "5s", 0, 10 * 60 * kSecond)
        .means("How long a read retries a block that only a silent node has, before it fails with "
               "EIO.")
        .costs("Shorter fails reads while a daemon restarts; longer makes readers wait for their "
               "error."),
    Row("read.ahead-bytes", kBytes, AT(read.ahead_bytes), "4M", 128 * kKiB, 256 * kMiB)
        .means("How far a reader of a remote partition is read ahead of.")
        .costs("Memory for each open remote partition."),
    Row("disk-threads", kCount, AT(disk_threads), "4", 1, 256)
        .means("Threads that wait for disks on behalf of pushes, merges and peers.")
        .costs("More than the disks can use only seek against each other."),
    Row("fuse-threads", kCount, AT(fuse_threads), "16", 2, 1024)
        .means("Threads that answer the kernel: so many calls through the mount may wait at the "
               "same time.")
        .costs("A stack each. Reads of remote partitions hold none while they wait."),
    Row("passthrough", kSwitch, AT(mount_passthrough), "true")
        .means("Let the kernel read and write local files directly where it can.")
        .costs("Without it every byte goes through the daemon: for finding faults only."),
    Row("keep-mount", kSwitch, AT(keep_mount), "true")
        .means("Keep the mount, open files and waiting calls when the worker process dies (kernel "
               "6.9 or later).")
        .costs("Off, a worker's death breaks open files: for finding faults only."),
    Row("fuse-io-uring", kSwitch, AT(fuse_io_uring), "false")
        .means("Take the kernel's requests by io_uring, where the kernel has it (6.14 or later) "
               "and it is switched on: 'echo 1 > /sys/module/fuse/parameters/enable_uring'. Calls "
               "on names become a little faster (docs/benchmarks.md).")
        .costs("Needs keep-mount = false. A ring and a thread for each processor."),
    Row("trash.grace", kDuration, AT(trash_grace), "60s", 0, 24 * kHour)
        .means("How long dropped data stays on disk, for readers that still have it open.")
        .costs("Disk space of what was dropped meanwhile."),
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
    case kAddress: return "an IP address and a port";
    case kName: return "1 to 100 of A-Z a-z 0-9 . _ -";
    case kPath:
    case kFile:
    case kMembers: return "";
  }
  return "";
}

}  // namespace shufflefs
