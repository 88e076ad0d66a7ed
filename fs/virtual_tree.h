// The virtual half of the mount as FUSE sees it: every request for a virtual inode comes here and
// is answered exactly once. What this node knows is answered on the FUSE thread; what needs another
// node, or a fresh look at a partition, is spawned on the reactor and answered from there. FUSE
// threads never wait. (docs/namespace.md says what each operation does where.)
//
// Life: construct; prepare() before the mount; stop() on the reactor after the FUSE loop has ended
// and before the session is destroyed: what is still under way is cancelled and answered with EIO.
// Threads: the operations on any FUSE thread. Ownership: the references outlive it. Failure: errors
// become errnos; names that do not parse are ENOENT for a lookup and EINVAL, with a line in the
// log, for mkdir. Cost: as its parts say.
#pragma once

#include "base/gate.h"
#include "fs/client_report.h"
#include "fs/passthrough.h"
#include "fs/request.h"
#include "fs/saved_state.h"
#include "fs/virtual_contents.h"
#include "fs/virtual_inodes.h"
#include "fs/virtual_modes.h"
#include "fs/virtual_ops.h"
#include "fs/virtual_reply.h"
#include "fs/virtual_trees.h"

namespace shufflefs::fs {

// What the mount has for the Spark client.
struct ClientFiles {
  std::string directory;           // whose files .shufflefs/client/ shows; empty: none
  ClientReport* report = nullptr;  // takes what is written into .shufflefs/client-report
};

class VirtualTree final : public VirtualOps {
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
  [[nodiscard]] Task<void> stop();
  // `verify` has found a damaged copy: merged files are compared with their checksums once more
  // before the kernel reads them by itself. Any thread.
  void check_again() { contents_.check_again(); }
  // As VirtualContents. Before the mount is served.
  void list_wide_by(PartitionFinder finder) { contents_.list_wide_by(std::move(finder)); }

  void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) override;
  void forget(fuse_ino_t ino, uint64_t count) override;
  void getattr(fuse_req_t req, fuse_ino_t ino) override;
  void setattr(fuse_req_t req, fuse_ino_t ino, const struct stat* attr, int to_set) override;
  void readlink(fuse_req_t req, fuse_ino_t ino) override;

  void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) override;
  void read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
            fuse_file_info* info) override;
  void write(fuse_req_t req, fuse_ino_t ino, fuse_bufvec* in, fuse_file_info* info) override;
  void release(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) override;

  void opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) override;
  void readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, bool plus,
               fuse_file_info* info) override;
  void releasedir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) override;

  void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) override;
  void unlink(fuse_req_t req, fuse_ino_t parent, const char* name) override;
  void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) override;

  void getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) override;
  void listxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) override;

 private:
  // ---- virtual_tree.cc: lookup and attributes
  // May look at the disk: on FUSE threads; the reactor asks owner_later().
  [[nodiscard]] Owner owner_of(const VirtualNode& node);
  [[nodiscard]] Task<Owner> owner_later(const VirtualNode& node);
  [[nodiscard]] struct stat attributes(const VirtualNode& node, const Facts& facts, Owner owner);
  [[nodiscard]] fuse_entry_param remember(const VirtualNode& node, const Facts& facts, Owner owner);
  [[nodiscard]] Result<fuse_entry_param> maps_entry(const VirtualNode& node);
  void reply_entry(Reply reply, const fuse_entry_param& entry);
  [[nodiscard]] Task<void> lookup_later(Reply reply, VirtualNode node);
  [[nodiscard]] Task<void> lookup_maps_later(Reply reply, VirtualNode node);
  [[nodiscard]] Task<void> getattr_later(Reply reply, VirtualNode node);
  [[nodiscard]] Task<void> getxattr_later(Reply reply, VirtualNode node, std::string name,
                                          std::size_t size);
  void changed(const merge::ShuffleKey& key);

  // ---- virtual_tree_io.cc: open files
  [[nodiscard]] Task<void> open_later(Reply reply, uint64_t request, fuse_ino_t ino,
                                      VirtualNode node);
  void finish_open(Reply reply, uint64_t request, fuse_ino_t ino, const VirtualNode& node,
                   VirtualContents::Opened opened);
  void drop_first_execution(const RequestId& request);
  [[nodiscard]] bool choose_mode(fuse_ino_t ino, const VirtualContents::Opened& opened,
                                 fuse_file_info& info, VirtualOpen& open);
  void close_handle(uint64_t key);
  void close_file(std::shared_ptr<VirtualFile> file);
  [[nodiscard]] static Task<void> read_later(Reply reply, std::shared_ptr<VirtualFile> file,
                                             uint64_t offset, uint32_t size);
  [[nodiscard]] static Task<void> close_later(std::shared_ptr<VirtualFile> file);

  // ---- virtual_tree_dir.cc: directories
  [[nodiscard]] Task<void> opendir_later(Reply reply, uint64_t request, fuse_ino_t ino,
                                         VirtualNode node);
  void finish_opendir(Reply reply, uint64_t request, fuse_ino_t ino, Result<Listing> listing);
  void make_directory(Reply reply, const VirtualNode& node);
  [[nodiscard]] Task<void> drop_later(Reply reply, VirtualNode node);

  // ---- virtual_restore.cc: after a worker's death
  void restore_open(const VirtualOpenRecord& record, Fd snapshot);
  [[nodiscard]] std::shared_ptr<VirtualFile> restored_file(const VirtualOpenRecord& record,
                                                           const VirtualNode& node, Fd snapshot);

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
