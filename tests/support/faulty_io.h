// The real file system, with disks whose room is what the test says, and whose writes fail when the
// test says so.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/file_io.h"

namespace shufflefs::testing {

class FaultyIo final : public FileIo {
 public:
  std::map<std::string, uint64_t> free_bytes;    // by directory
  std::map<std::string, int> fail_writes_below;  // directory -> errno
  std::map<std::string, int> fail_reads_below;   // directory -> errno; of names, not of bytes
  bool fail_removals = false;                    // of files
  bool fail_renames = false;
  std::function<void()> before_make_directories = {};
  std::function<void()> before_list = {};

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    TRY_ASSIGN(std::unique_ptr<File> file, io_->open(path, mode));
    return std::unique_ptr<File>(std::make_unique<FaultyFile>(std::move(file), *this, path));
  }
  Result<FileInfo> stat(const std::string& path) override {
    TRY(readable(path));
    return io_->stat(path);
  }
  Result<std::vector<DirectoryEntry>> list(const std::string& path) override {
    if (before_list) before_list();
    TRY(readable(path));
    return io_->list(path);
  }
  Status make_directories(const std::string& path) override {
    if (before_make_directories) before_make_directories();
    return io_->make_directories(path);
  }
  Status set_mode(const std::string& path, uint32_t mode) override {
    return io_->set_mode(path, mode);
  }
  Status rename(const std::string& from, const std::string& to) override {
    if (fail_renames) return errno_error("cannot rename " + from, EBUSY);
    return io_->rename(from, to);
  }
  Status remove_file(const std::string& path) override {
    if (fail_removals) return errno_error("cannot remove " + path, EIO);
    return io_->remove_file(path);
  }
  Status remove_empty_directory(const std::string& path) override {
    return io_->remove_empty_directory(path);
  }
  Status remove_tree(const std::string& path) override { return io_->remove_tree(path); }
  Result<std::optional<std::string>> extended_attribute(const std::string& path,
                                                        const std::string& name) override {
    TRY(readable(path));
    return io_->extended_attribute(path, name);
  }
  Result<DiskSpace> space(const std::string& path) override {
    const auto it = free_bytes.find(path);
    if (it == free_bytes.end()) return io_->space(path);
    return DiskSpace{1ULL << 40U, it->second};
  }

 private:
  Status readable(const std::string& path) const {
    for (const auto& [directory, error] : fail_reads_below) {
      if (path.starts_with(directory + "/")) return errno_error("cannot read " + path, error);
    }
    return ok();
  }
  class FaultyFile final : public File {
   public:
    FaultyFile(std::unique_ptr<File> file, const FaultyIo& io, std::string path)
        : file_(std::move(file)), io_(io), path_(std::move(path)) {}
    Result<std::size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
      return file_->read_at(offset, into);
    }
    Status write_at(uint64_t offset, std::span<const std::byte> bytes) override {
      for (const auto& [directory, error] : io_.fail_writes_below) {
        if (path_.starts_with(directory + "/")) return errno_error("cannot write " + path_, error);
      }
      return file_->write_at(offset, bytes);
    }
    Result<uint64_t> size() override { return file_->size(); }
    Result<FileStamp> stamp() override { return file_->stamp(); }
    Status truncate(uint64_t size) override { return file_->truncate(size); }
    [[nodiscard]] int native_fd() const override { return file_->native_fd(); }

   private:
    std::unique_ptr<File> file_;
    const FaultyIo& io_;
    std::string path_;
  };
  std::unique_ptr<FileIo> io_ = make_posix_file_io();
};

}  // namespace shufflefs::testing
