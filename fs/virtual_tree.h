// The virtual half of the mount: what each request for a virtual inode does (docs/namespace.md).
// No request is answered here: an operation returns its result, or a task that has it later
// (virtual_replies.h). What this node knows is returned at once; what needs another node, or a
// fresh look at a partition, is a task for the reactor. FUSE threads never wait.
//
// Life: construct; prepare() before the mount; stop() on the reactor after the FUSE loop has ended.
// Threads: the operations on any FUSE thread, the tasks on the reactor. Ownership: the references
// outlive it. Failure: the Error's fuse_errno() is the answer. Cost: as its parts say.
#pragma once

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>

#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "base/gate.h"
#include "fs/client_report.h"
#include "fs/passthrough.h"
#include "fs/request.h"
#include "fs/saved_state.h"
#include "fs/virtual_contents.h"
#include "fs/virtual_inodes.h"
#include "fs/virtual_places.h"

namespace shufflefs::fs {

// What the mount has for the Spark client.
struct ClientFiles {
  std::string directory;           // whose files .shufflefs/client/ shows; empty: none
  ClientReport* report = nullptr;  // takes what is written into .shufflefs/client-report
};

template <class T>
using Answer = std::variant<Result<T>, Task<Result<T>>>;

struct VirtualAttributes {
  struct stat attr{};
  double cache_seconds = 0;
};

// The bytes of a read: `text`, a range of `fd`, or `buffer`.
struct VirtualBytes {
  std::shared_ptr<VirtualFile> file;  // keeps `text` and `fd`
  std::string_view text{};
  int fd = -1;
  Buffer buffer{};
};

class VirtualTree {
 public:
  // `engine` must have been started before the first request: its catalog is asked.
  // What `state` brings along becomes known; `kept` outlives the tree, nullptr in tests.
  VirtualTree(merge::Engine& engine, merge::Cluster& cluster, NativeFs& native,
              Passthrough& passthrough, InfoTexts texts, SavedState& state, KeptFiles* kept,
              ClientFiles client = {});

  // Shows the disks under local/, and what a worker before us had shown. Before the mount is
  // served; blocks.
  [[nodiscard]] Status prepare();
  // Goes on with what a worker before us had open. When the engine has been started, before the
  // first request.
  void restore_open_files(SavedState& state);
  // Cancels what is under way, the tasks in gate() too.
  [[nodiscard]] Task<void> stop();
  [[nodiscard]] Gate& gate() { return gate_; }
  // `verify` has found a damaged copy: merged files are compared with their checksums once more
  // before the kernel reads them by itself. Any thread.
  void check_again() { contents_.check_again(); }
  // As VirtualContents. Before the mount is served.
  void list_wide_by(PartitionFinder finder) { contents_.list_wide_by(std::move(finder)); }

  // An entry counts a lookup: reply it or give it back.
  [[nodiscard]] Answer<fuse_entry_param> lookup(fuse_ino_t parent, std::string_view name);
  void give_back(const fuse_entry_param& entry);
  void forget(fuse_ino_t ino, uint64_t count) { inodes_.forget(ino, count); }

  [[nodiscard]] Answer<VirtualAttributes> getattr(fuse_ino_t ino);
  [[nodiscard]] Answer<VirtualAttributes> setattr(fuse_ino_t ino, int to_set);
  [[nodiscard]] Answer<std::string> getxattr(fuse_ino_t ino, std::string name);
  // Names that end in a zero byte each.
  [[nodiscard]] Result<std::string> listxattr(fuse_ino_t ino);

  // For current_request(). The handle is released by release().
  [[nodiscard]] Answer<fuse_file_info> open(fuse_ino_t ino, int flags);
  [[nodiscard]] Answer<VirtualBytes> read(uint64_t handle, uint64_t offset, uint32_t size);
  // A write is one report, whatever its offset.
  [[nodiscard]] Status write(fuse_ino_t ino, std::string_view report);
  void release(uint64_t handle);

  [[nodiscard]] Answer<fuse_file_info> opendir(fuse_ino_t ino);
  // nullptr: not an open directory.
  [[nodiscard]] std::shared_ptr<const Listing> listing(uint64_t handle) const;

  // `caller` becomes the owner of what is made.
  [[nodiscard]] Result<fuse_entry_param> mkdir(fuse_ino_t parent, std::string_view name,
                                               Owner caller);
  [[nodiscard]] Status unlink(fuse_ino_t parent, std::string_view name);
  [[nodiscard]] Answer<void> rmdir(fuse_ino_t parent, std::string_view name);

 private:
  // These may look at the disk: on FUSE threads, and by offload().
  [[nodiscard]] Owner owner_of(const VirtualPath& path);
  [[nodiscard]] VirtualAttributes attributes(const VirtualPath& path, uint64_t bytes);
  [[nodiscard]] Result<fuse_entry_param> entry(const VirtualPath& path, uint64_t bytes);

  [[nodiscard]] Task<Result<fuse_entry_param>> lookup_later(VirtualPath path);
  [[nodiscard]] Task<Result<VirtualAttributes>> getattr_later(VirtualPath path);
  [[nodiscard]] Task<Result<std::string>> getxattr_later(VirtualPath path, std::string name);

  void drop_first_execution(const RequestId& request);
  [[nodiscard]] Task<Result<fuse_file_info>> open_later(uint64_t request, fuse_ino_t ino,
                                                        VirtualPath path);
  [[nodiscard]] bool choose_mode(fuse_ino_t ino, const OpenedFile& opened, fuse_file_info& info,
                                 VirtualOpen& open);
  [[nodiscard]] static Task<Result<VirtualBytes>> read_later(std::shared_ptr<VirtualFile> file,
                                                             uint64_t offset, uint32_t size);
  void close_file(std::shared_ptr<VirtualFile> file);

  [[nodiscard]] Result<fuse_file_info> add_listing(uint64_t request, fuse_ino_t ino,
                                                   Result<Listing> listing);
  [[nodiscard]] Task<Result<fuse_file_info>> opendir_later(uint64_t request, fuse_ino_t ino,
                                                           VirtualPath path);
  [[nodiscard]] Task<Status> drop_later(VirtualPath path);

  void restore_open(const VirtualOpenRecord& record, Fd snapshot);
  [[nodiscard]] std::shared_ptr<VirtualFile> restored_file(const VirtualOpenRecord& record,
                                                           const VirtualPath& path, Fd snapshot);

  // Constant after construction, or with their own locks.
  Runtime& runtime_;
  merge::Engine& engine_;
  NativeFs& native_;
  Passthrough& passthrough_;
  ClientReport* const report_;
  const timespec start_;  // the time of everything that has none of its own
  VirtualContents contents_;
  VirtualTrees trees_;
  VirtualInodes inodes_;
  VirtualHandles handles_;
  OpenModes modes_;
  Gate gate_;
};

}  // namespace shufflefs::fs
