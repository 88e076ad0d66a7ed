// The disks of one simulated node: files in memory behind FileIo, with everything that can go wrong
// with a disk. What has been written outlives the node; after a crash at any operation it is as a
// killed process, or a machine without power, would leave it.
//
// Faults are set per data directory ("/n1/d0"). A crash is armed with crash_after(): the operation
// that it hits is done in part (a write is torn), everything after it fails until thaw(), and
// `crashed` is told, so that the node is ended before anything it has learnt gets out.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "sim/schedule.h"

namespace shufflefs::sim {

struct DiskFaults {
  double error_chance = 0;  // of EIO, for each operation
  bool gone = false;        // every operation fails with EIO
  bool hangs = false;       // no operation ends before that is over
  uint64_t capacity = UINT64_MAX;
};

class SimDisk final : public FileIo {
 public:
  struct Hooks {
    // After a write that succeeded.
    std::function<void(const std::string& path, uint64_t offset, uint64_t length)> written;
    std::function<void()> crashed;
    std::function<uint64_t()> now_ms;  // for modification times, since 1970
    std::function<void()> cut;         // before each operation: others may go on here
  };
  SimDisk(uint64_t seed, Hooks hooks);
  ~SimDisk() override;
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<FileInfo> stat(const std::string& path) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& path) override;
  Status make_directories(const std::string& path) override;
  Status set_mode(const std::string& path, uint32_t mode) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove_file(const std::string& path) override;
  Status remove_empty_directory(const std::string& path) override;
  Status remove_tree(const std::string& path) override;
  Result<std::optional<std::string>> extended_attribute(const std::string& path,
                                                        const std::string& name) override;
  Result<DiskSpace> space(const std::string& path) override;

  // ---- for the simulation; no faults apply -----------------------------------------------------
  void set_attribute(const std::string& path, const std::string& name, const std::string& value);
  [[nodiscard]] DiskFaults& faults(const std::string& data_dir) { return faults_[data_dir]; }
  void heal();
  // The bytes of a file as they are now; nothing if it is not there.
  [[nodiscard]] const std::vector<std::byte>* peek(const std::string& path) const;
  [[nodiscard]] std::vector<std::string> files_below(const std::string& directory) const;
  // Flips a bit of one of the files that `eligible` takes. The path, or nothing if there is none.
  std::optional<std::string> corrupt_one(const std::function<bool(const std::string&)>& eligible);

  // Behind the node's back: the file is gone, ends early, has other bytes, cannot be read.
  enum class Harm { kLost, kCut, kReplaced, kUnreadable };
  void harm(const std::string& path, Harm harm);
  // A new disk is in the place of the old one.
  void replace_disk(const std::string& data_dir);

  void crash_after(uint64_t operations) { operations_to_crash_ = operations; }
  [[nodiscard]] bool frozen() const { return frozen_; }
  void freeze() { frozen_ = true; }
  // The node starts again. With `power_lost`, of what was written lately below a merged/ directory
  // some is missing, or is zeros.
  void thaw(bool power_lost);
  // What has been written so far is on the platters.
  void write_back();

  [[nodiscard]] uint64_t operations() const { return operations_; }

 private:
  friend class SimFile;
  struct Inode {
    bool is_directory = false;
    bool is_unreadable = false;
    bool is_read_only = false;
    uint64_t number = 0;
    uint64_t modified_ms = 0;
    uint64_t changes = 0;  // within a millisecond
    std::vector<std::byte> bytes;
    std::map<std::string, std::string> attributes;
    std::optional<std::vector<std::byte>> durable;  // if it is not what `bytes` are
  };
  using InodePtr = std::shared_ptr<Inode>;

  // Fails the operation if it has to fail.
  Status admit(const std::string& path, std::string_view doing);
  [[nodiscard]] bool hits_crash();
  [[nodiscard]] const std::string* data_dir_of(const std::string& path) const;
  [[nodiscard]] uint64_t used_below(const std::string& directory) const;
  [[nodiscard]] static FileStamp stamp_of(const Inode& inode);
  [[nodiscard]] InodePtr make_inode(bool is_directory);
  [[nodiscard]] InodePtr find(const std::string& path) const;
  Status write(const std::string& path, Inode& inode, uint64_t offset,
               std::span<const std::byte> bytes);
  Status truncate(const std::string& path, Inode& inode, uint64_t size);

  Random random_;
  const Hooks hooks_;
  std::map<std::string, InodePtr> inodes_;
  std::map<std::string, DiskFaults> faults_;
  uint64_t last_inode_ = 0;
  uint64_t operations_ = 0;
  uint64_t operations_to_crash_ = 0;  // 0: none armed
  bool frozen_ = false;
};

}  // namespace shufflefs::sim
