// A mount of nothing but native trees: `local/disk<i>` for each --data DIR, which shows DIR/local.
// The virtual part is as small as it can be (the root and local/), so that the native half is
// tested alone; it also shows what that half asks of a virtual part. Runs until SIGTERM; SIGUSR1
// writes the counters to stderr.
//
//   native_mount --mount DIR --data DIR [--data DIR ...] [--no-passthrough] [--cache-seconds N]
//   [--threads N] [--io-uring]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "fs/directory.h"
#include "fs/mount.h"
#include "fs/operations.h"
#include "fs/session.h"

namespace shufflefs::fs {
namespace {

constexpr fuse_ino_t kLocal = kVirtualInodeBit | 2;

struct Disk {
  std::string name;
  TreeId tree{};
};

class SmallestVirtualPart final : public VirtualOps {
 public:
  explicit SmallestVirtualPart(NativeFs& native) : native_(native) {}
  void add(std::string name, TreeId tree) { disks_.push_back({std::move(name), tree}); }

  void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) override {
    if (parent == FUSE_ROOT_ID && std::string_view(name) == "local") {
      fuse_entry_param entry{};
      entry.ino = kLocal;
      entry.attr = attributes(kLocal);
      entry.attr_timeout = entry.entry_timeout = 60;
      fuse_reply_entry(req, &entry);
      return;
    }
    for (const Disk& disk : disks_) {
      if (parent != kLocal || disk.name != name) continue;
      const Result<fuse_entry_param> entry = native_.lookup_root(disk.tree);
      if (entry) return reply_entry(req, native_, *entry);
      fuse_reply_err(req, entry.error().fuse_errno());
      return;
    }
    fuse_reply_err(req, ENOENT);
  }
  void forget(fuse_ino_t /*ino*/, uint64_t /*count*/) override {}
  void getattr(fuse_req_t req, fuse_ino_t ino) override {
    const struct stat attr = attributes(ino);
    fuse_reply_attr(req, &attr, 60);
  }
  void setattr(fuse_req_t req, fuse_ino_t /*ino*/, const struct stat* /*attr*/,
               int /*to_set*/) override {
    fuse_reply_err(req, EROFS);
  }
  void readlink(fuse_req_t req, fuse_ino_t /*ino*/) override { fuse_reply_err(req, EINVAL); }
  void open(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* /*info*/) override {
    fuse_reply_err(req, EISDIR);
  }
  void read(fuse_req_t req, fuse_ino_t /*ino*/, std::size_t /*size*/, off_t /*offset*/,
            fuse_file_info* /*info*/) override {
    fuse_reply_err(req, EISDIR);
  }
  void write(fuse_req_t req, fuse_ino_t /*ino*/, fuse_bufvec* /*in*/,
             fuse_file_info* /*info*/) override {
    fuse_reply_err(req, EROFS);
  }
  void release(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* /*info*/) override {
    fuse_reply_err(req, 0);
  }
  void opendir(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* info) override {
    fuse_reply_open(req, info);
  }
  void readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, bool plus,
               fuse_file_info* /*info*/) override {
    DirectoryReply reply(req, size, plus);
    const std::vector<std::string> names = children(ino);
    for (auto at = static_cast<std::size_t>(offset); at < names.size(); ++at) {
      if (!reply.add(names[at].c_str(), attributes(kLocal), static_cast<off_t>(at + 1))) break;
    }
    reply.send();
  }
  void releasedir(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* /*info*/) override {
    fuse_reply_err(req, 0);
  }
  void mkdir(fuse_req_t req, fuse_ino_t /*parent*/, const char* /*name*/,
             mode_t /*mode*/) override {
    fuse_reply_err(req, EROFS);
  }
  void unlink(fuse_req_t req, fuse_ino_t /*parent*/, const char* /*name*/) override {
    fuse_reply_err(req, EROFS);
  }
  void rmdir(fuse_req_t req, fuse_ino_t /*parent*/, const char* /*name*/) override {
    fuse_reply_err(req, EROFS);
  }
  void getxattr(fuse_req_t req, fuse_ino_t /*ino*/, const char* /*name*/,
                std::size_t /*size*/) override {
    fuse_reply_err(req, ENODATA);
  }
  void listxattr(fuse_req_t req, fuse_ino_t /*ino*/, std::size_t size) override {
    if (size == 0)
      fuse_reply_xattr(req, 0);
    else
      fuse_reply_buf(req, nullptr, 0);
  }

 private:
  static struct stat attributes(fuse_ino_t ino) {
    struct stat attr{};
    attr.st_ino = ino;
    attr.st_mode = S_IFDIR | 0555;
    attr.st_nlink = 2;
    return attr;
  }
  [[nodiscard]] std::vector<std::string> children(fuse_ino_t ino) const {
    std::vector<std::string> names{".", ".."};
    if (ino == FUSE_ROOT_ID) names.emplace_back("local");
    if (ino != kLocal) return names;
    for (const Disk& disk : disks_) names.push_back(disk.name);
    return names;
  }

  NativeFs& native_;
  std::vector<Disk> disks_;
};

class NoHooks final : public TreeHooks {
 public:
  [[nodiscard]] bool guards_writes() const override { return false; }
};

struct Options {
  std::string mount;
  std::vector<std::string> data;
  bool no_passthrough = false;
  double cache_seconds = 60;
  unsigned threads = 16;
  bool io_uring = false;
};

int fail(const Error& error) {
  log_error("start.failed", {{"reason", error.message}});
  return EXIT_FAILURE;
}

// Until SIGTERM, SIGINT, or the end of the session (SIGHUP, raised by ourselves).
void wait_for_end(const sigset_t& signals, const Metrics& metrics) {
  for (int signal = 0;;) {
    sigwait(&signals, &signal);
    if (signal != SIGUSR1) return;
    fmt::print(stderr, "{}# end of metrics\n", metrics.render());
  }
}

int run(const Options& options, const sigset_t& signals) {
  Metrics metrics;
  HandleTable handles;
  NativeFs native(handles);
  NoHooks hooks;
  SmallestVirtualPart virtual_part(native);
  Passthrough passthrough(metrics, !options.no_passthrough);

  Result<InstanceLock> lock = InstanceLock::take(options.data.front());
  if (!lock) return fail(lock.error());
  raise_file_limit();
  for (const std::string& data : options.data) {
    const std::string directory = data + "/local";
    std::filesystem::create_directories(directory);
    const Result<TreeId> tree =
        native.add_tree(directory, hooks, {.cache_seconds = options.cache_seconds});
    if (!tree) return fail(tree.error());
    virtual_part.add(fmt::format("disk{}", &data - options.data.data()), *tree);
  }
  SpaceCache space(native);
  Operations operations(native, handles, passthrough, space, virtual_part, metrics);
  Result<Mount> mount = Mount::make(options.mount);
  if (!mount) return fail(mount.error());
  const pid_t self = ::getpid();
  Result<std::unique_ptr<Session>> session =
      Session::start(std::move(*mount), operations,
                     {.max_threads = options.threads,
                      .max_idle_threads = options.threads,
                      .io_uring = options.io_uring,
                      .on_ended = [self] { ::kill(self, SIGHUP); }});
  if (!session) return fail(session.error());
  wait_for_end(signals, metrics);
  (*session)->stop();
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace shufflefs::fs

int main(int argc, char** argv) {
  shufflefs::fs::Options options;
  CLI::App app("Mounts native trees only (a test helper)");
  app.add_option("--mount", options.mount)->required();
  app.add_option("--data", options.data)->required();
  app.add_flag("--no-passthrough", options.no_passthrough);
  app.add_option("--cache-seconds", options.cache_seconds);
  app.add_option("--threads", options.threads);
  app.add_flag("--io-uring", options.io_uring);
  CLI11_PARSE(app, argc, argv);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return shufflefs::fs::run(options, signals);
}
