#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <cstring>
#include <filesystem>

#include "main/config.h"
#include "main/config_keys.h"
#include "main/mounts.h"
#include "net/membership.h"

namespace shufflefs {
namespace {

namespace stdfs = std::filesystem;

bool is_within(const std::string& inner, const std::string& outer) {
  return inner == outer || inner.starts_with(outer == "/" ? outer : outer + "/");
}

bool is_this_machine(const std::string& host) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(host, error);
  return is_loopback(host) || (!error && address.is_unspecified());
}

class Checker {
 public:
  Checker(const Settings& settings, const std::function<bool(std::string_view)>& is_good,
          std::vector<Mistake>& mistakes)
      : settings_(settings), is_good_(is_good), mistakes_(mistakes) {}

  void addresses() {
    listen_address("peer-listen", settings_.peer_listen);
    listen_address("http-listen", settings_.http_listen);
    if (!settings_.spark.listen.host.empty())
      listen_address("spark-listen", settings_.spark.listen);
    if (is_good_("http-listen") && is_good_("http-token-file") &&
        settings_.http_token_file.empty() && !is_loopback(settings_.http_listen.host)) {
      mistake("http-listen", to_string(settings_.http_listen),
              "other machines reach it there, and there is no http-token-file",
              "give --http-token-file FILE, or listen on 127.0.0.1");
    }
    const bool both = is_good_("peer-listen") && is_good_("http-listen");
    if (both && settings_.peer_listen == settings_.http_listen) {
      mistake("http-listen", to_string(settings_.http_listen),
              "it is the same address and port as peer-listen",
              "give each its own port (by default 7338 for peers and 7340 for HTTP)");
    }
    for (const auto& [key, other] : {std::pair{"peer-listen", &settings_.peer_listen},
                                     std::pair{"http-listen", &settings_.http_listen}}) {
      if (is_good_("spark-listen") && is_good_(key) && settings_.spark.listen == *other) {
        mistake("spark-listen", to_string(settings_.spark.listen),
                fmt::format("it is the same address and port as {}", key),
                "give it its own port (by default 7337)");
      }
    }
  }

  void members() {
    if (!is_good_("members") || settings_.members.empty()) return;
    const auto spec = net::parse_members(settings_.members);
    if (!spec) {
      std::string reason = spec.error().message;  // error() is a copy: no view of it
      if (reason.starts_with("--members: ")) reason.erase(0, 11);
      mistake("members", settings_.members, reason,
              "write NAME=ADDR:PORT,NAME=ADDR:PORT,... or dns:HOST:PORT");
      return;
    }
    if (spec->dns || !is_good_("node")) return;
    const auto self =
        std::find_if(spec->fixed.begin(), spec->fixed.end(),
                     [&](const net::Member& member) { return member.name == settings_.node; });
    if (self != spec->fixed.end() && is_good_("peer-listen") &&
        self->address.port != settings_.peer_listen.port) {
      mistake("members", fmt::format("{}={}", self->name.str(), to_string(self->address)),
              fmt::format("this node is listed with port {}, but listens on {}", self->address.port,
                          to_string(settings_.peer_listen)),
              fmt::format("list it with port {}, or set --peer-listen ADDR:{}",
                          settings_.peer_listen.port, self->address.port));
    }
  }

  // Strangers are kept out by a secret, by certificates, or by this machine's borders.
  void peer_security() {
    const PeerSecuritySettings& security = settings_.peer_security;
    const std::array tls = {std::pair{"tls-cert", &security.tls_cert},
                            std::pair{"tls-key", &security.tls_key},
                            std::pair{"tls-ca", &security.tls_ca}};
    const auto is_given = [](const auto& file) { return !file.second->empty(); };
    for (const auto& file : tls) {
      if (is_given(file) || std::ranges::none_of(tls, is_given)) continue;
      mistake(file.first, "", "tls-cert, tls-key and tls-ca go together, and it is not given",
              "give all three, or none");
    }
    if (security.authenticates() || security.insecure) return;
    if (!is_good_("peer-listen") || !is_good_("members")) return;
    const std::string remedy =
        "give every node the same --secret-file (or certificates: --tls-cert), or, on a network "
        "where you trust everybody, --insecure true";
    if (!is_loopback(settings_.peer_listen.host)) {
      mistake("peer-listen", to_string(settings_.peer_listen),
              "others than this machine reach it, and could pass for a node", remedy);
      return;
    }
    const auto spec = net::parse_members(settings_.members);
    if (!spec) return;
    const bool elsewhere = spec->dns || std::ranges::any_of(spec->fixed, [](const auto& member) {
                             return !is_this_machine(member.address.host);
                           });
    if (elsewhere) {
      mistake("members", settings_.members,
              "they are on other machines, and without a secret nodes are reached from their own "
              "machine only",
              remedy);
    }
  }

  void memory() {
    if (!is_good_("memory")) return;
    at_most_a_quarter("push.max-block-bytes", settings_.push.max_block_bytes);
    at_most_a_quarter("push.chunk-bytes", settings_.push.chunk_bytes);
    at_most_a_quarter("read.ahead-bytes", settings_.read.ahead_bytes);
  }

  void relay() {
    if (!is_good_("spark-relay") || settings_.spark.relay == SparkRelay::kOff) return;
    if (is_good_("spark-listen") && settings_.spark.listen.host.empty()) {
      mistake("spark-relay", "redirect", "spark-listen is empty: there is no port to relay",
              "give --spark-listen, or switch spark-relay off");
    }
    if (is_good_("spark-secret-file") && !settings_.spark.secret_file.empty()) {
      mistake("spark-relay", "redirect",
              "it does not go with spark-secret-file: the relay cannot authenticate for "
              "applications at the blocks' origins",
              "switch spark-relay off, or do without spark.authenticate");
    }
  }

  void transport() {
    if (!is_good_("fuse-io-uring") || !is_good_("keep-mount")) return;
    if (!settings_.fuse_io_uring || !settings_.keep_mount) return;
    mistake("fuse-io-uring", "true",
            "it excludes keep-mount: requests that a ring has taken die with their process",
            "set keep-mount to false too, or leave fuse-io-uring off");
  }

  void directories(bool will_mount) {
    std::vector<std::string> data;
    if (is_good_("data")) {
      for (const std::string& path : settings_.data) data_directory(path, data);
    }
    if (!will_mount || !is_good_("mount")) return;
    mount_directory();
    const std::string mount = canonical_mount();
    for (std::size_t i = 0; i < data.size(); ++i) {
      if (is_within(mount, data[i])) {
        mistake("mount", settings_.mount,
                fmt::format("it lies inside the data directory {}", settings_.data[i]),
                "put the mount beside the data, not into it");
      } else if (is_within(data[i], mount)) {
        mistake("data", settings_.data[i],
                fmt::format("it lies inside the mount {}, which would hide it", settings_.mount),
                "put the data beside the mount, not into it");
      }
    }
  }

  void machine(const Machine& machine) {
    if (!machine.is_root) {
      mistake("", "", "shufflefs is not run by root: mounting with passthrough needs CAP_SYS_ADMIN",
              "run it as root (sudo), or in a container with --privileged");
    }
    if (!machine.has_fuse_device) {
      mistake("", "", "/dev/fuse is missing or not accessible",
              "load the module (modprobe fuse); in a container pass it on (--device /dev/fuse "
              "--cap-add SYS_ADMIN)");
    }
  }

 private:
  void mistake(std::string_view key, const std::string& value, const std::string& reason,
               const std::string& remedy) {
    mistakes_.push_back({std::string(key), value, "", reason, remedy});
  }

  void listen_address(std::string_view key, const HostPort& address) {
    if (!is_good_(key)) return;
    boost::system::error_code error;
    boost::asio::ip::make_address(address.host, error);
    if (error && address.host != "localhost") {
      mistake(key, to_string(address), fmt::format("'{}' is not an IP address", address.host),
              "write an address of this machine, or 0.0.0.0 for all of them");
    }
  }

  void at_most_a_quarter(std::string_view name, uint64_t bytes) {
    if (!is_good_(name) || bytes <= settings_.memory_bytes / 4) return;
    const ConfigKey& key = *find_config_key(name);
    mistake(name, bound_text(key, bytes),
            fmt::format("memory ({}) is less than four times as much",
                        format_bytes(settings_.memory_bytes)),
            fmt::format("raise --memory to {} or lower {} to {}", bound_text(key, bytes * 4), name,
                        bound_text(key, settings_.memory_bytes / 4)));
  }

  void mount_directory() {
    const std::string& path = settings_.mount;
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) {
      if (errno == ENOTCONN) return;  // left behind by a daemon that died: replaced when we mount
      // Made when we mount, like the data directories.
      if (errno != ENOENT) mistake("mount", path, std::strerror(errno), "give an empty directory");
      return;
    }
    if (!S_ISDIR(info.st_mode)) {
      mistake("mount", path, "it is not a directory", "give an empty directory");
      return;
    }
    if (const auto mounted = mounted_at(canonical_mount())) {
      // The kernel answers a stat for a second after the daemon's death, this it asks the daemon.
      struct statfs space{};
      if (::statfs(path.c_str(), &space) != 0 && errno == ENOTCONN) return;
      mistake(
          "mount", path, fmt::format("something is mounted there already (type {})", mounted->type),
          fmt::format("is another daemon running with this mount? Stop it, or: umount {}", path));
      return;
    }
    std::error_code error;
    const bool empty = stdfs::is_empty(path, error);
    if (error)
      mistake("mount", path, error.message(), "give a directory that can be read");
    else if (!empty)
      mistake("mount", path, "the directory is not empty",
              "give an empty one: what is in it would be hidden");
  }

  // Symbolic links resolved, without asking a dead mount about itself.
  [[nodiscard]] std::string canonical_mount() const {
    std::error_code error;
    const stdfs::path path(settings_.mount);
    const stdfs::path parent = stdfs::weakly_canonical(path.parent_path(), error);
    if (stdfs::is_symlink(stdfs::symlink_status(path, error)))
      return stdfs::weakly_canonical(path, error).string();
    return (parent / path.filename()).lexically_normal().string();
  }

  void data_directory(const std::string& path, std::vector<std::string>& seen) {
    std::error_code error;
    std::string canonical = stdfs::weakly_canonical(path, error).string();
    if (error) canonical = path;
    for (std::size_t i = 0; i < seen.size(); ++i) {
      if (seen[i] == canonical) {
        mistake("data", path, fmt::format("it is the same directory as {}", settings_.data[i]),
                "give every data directory once");
      } else if (is_within(seen[i], canonical) || is_within(canonical, seen[i])) {
        mistake("data", path, fmt::format("it and {} lie within each other", settings_.data[i]),
                "give separate directories, one per disk");
      }
    }
    seen.push_back(canonical);
    writable(path, canonical);
  }

  // The directory itself, or else the nearest one above it, where it would be made.
  void writable(const std::string& path, stdfs::path existing) {
    const stdfs::path itself = existing;
    struct stat info{};
    while (::stat(existing.c_str(), &info) != 0 && errno == ENOENT &&
           existing.has_relative_path()) {
      existing = existing.parent_path();
    }
    if (::stat(existing.c_str(), &info) != 0) {
      mistake("data", path, fmt::format("{}: {}", existing.string(), std::strerror(errno)),
              "give a directory on a healthy disk");
    } else if (!S_ISDIR(info.st_mode)) {
      mistake("data", path,
              existing == itself
                  ? "it is not a directory"
                  : fmt::format("it cannot be made: {} is not a directory", existing.string()),
              "give a directory, or a path where one can be made");
    } else if (::access(existing.c_str(), R_OK | W_OK | X_OK) != 0) {
      mistake("data", path,
              fmt::format("{} is not writable: {}", existing.string(), std::strerror(errno)),
              "make it writable, or give a directory on another disk");
    }
  }

  const Settings& settings_;
  const std::function<bool(std::string_view)>& is_good_;
  std::vector<Mistake>& mistakes_;
};

}  // namespace

void check_config(const Settings& settings, const std::function<bool(std::string_view)>& is_good,
                  const Machine& machine, std::vector<Mistake>& mistakes) {
  Checker checker(settings, is_good, mistakes);
  checker.addresses();
  checker.members();
  checker.peer_security();
  checker.memory();
  checker.relay();
  checker.transport();
  checker.directories(machine.will_mount);
  checker.machine(machine);
}

bool is_loopback(const std::string& host) {
  if (host == "localhost") return true;
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(host, error);
  return !error && address.is_loopback();
}

}  // namespace shufflefs
