#include "sim/sim_disk.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "sim/fiber.h"

namespace shufflefs::sim {
namespace {

bool is_below(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.starts_with(directory) &&
         path[directory.size()] == '/';
}

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

}  // namespace

class SimFile final : public File {
 public:
  SimFile(SimDisk& disk, std::string path, SimDisk::InodePtr inode)
      : disk_(disk), path_(std::move(path)), inode_(std::move(inode)) {}

  Result<std::size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    TRY(disk_.admit(path_, "read"));
    if (inode_->is_unreadable) return errno_error(fmt::format("cannot read {}", path_), EIO);
    if (offset >= inode_->bytes.size()) return std::size_t{0};
    const std::size_t n = std::min<uint64_t>(into.size(), inode_->bytes.size() - offset);
    std::copy_n(inode_->bytes.begin() + static_cast<std::ptrdiff_t>(offset), n, into.begin());
    return n;
  }
  Status write_at(uint64_t offset, std::span<const std::byte> bytes) override {
    return disk_.write(path_, *inode_, offset, bytes);
  }
  Result<uint64_t> size() override {
    TRY(disk_.admit(path_, "stat"));
    return uint64_t{inode_->bytes.size()};
  }
  Result<FileStamp> stamp() override {
    TRY(disk_.admit(path_, "stat"));
    return SimDisk::stamp_of(*inode_);
  }
  Status truncate(uint64_t size) override { return disk_.truncate(path_, *inode_, size); }
  [[nodiscard]] int native_fd() const override { return -1; }

 private:
  SimDisk& disk_;
  const std::string path_;
  const SimDisk::InodePtr inode_;
};

SimDisk::SimDisk(uint64_t seed, Hooks hooks) : random_(seed), hooks_(std::move(hooks)) {}
SimDisk::~SimDisk() = default;

const std::string* SimDisk::data_dir_of(const std::string& path) const {
  for (const auto& [directory, faults] : faults_) {
    if (path == directory || is_below(path, directory)) return &directory;
  }
  return nullptr;
}

uint64_t SimDisk::used_below(const std::string& directory) const {
  uint64_t used = 0;
  for (auto it = inodes_.lower_bound(directory + "/");
       it != inodes_.end() && is_below(it->first, directory); ++it)
    used += it->second->bytes.size();
  return used;
}

bool SimDisk::hits_crash() {
  if (frozen_ || operations_to_crash_ == 0 || --operations_to_crash_ > 0) return false;
  frozen_ = true;
  hooks_.crashed();
  return true;
}

Status SimDisk::admit(const std::string& path, std::string_view doing) {
  on_disk_wait(path);
  ++operations_;
  if (hooks_.cut) hooks_.cut();
  const auto fail = [&] { return errno_error(fmt::format("cannot {} {}", doing, path), EIO); };
  if (frozen_ || hits_crash()) return fail();
  const std::string* directory = data_dir_of(path);
  if (directory == nullptr) return ok();
  const DiskFaults& faults = faults_.at(*directory);
  if (Fiber* fiber = Fiber::current()) {
    while (faults.hangs && !frozen_ && !fiber->hurried())
      fiber->hang(std::chrono::milliseconds(50));
    if (frozen_) return fail();
  }
  if (faults.gone || (faults.error_chance > 0 && random_.chance(faults.error_chance)))
    return fail();
  return ok();
}

FileStamp SimDisk::stamp_of(const Inode& inode) {
  return {inode.number, inode.bytes.size(),
          inode.modified_ms * 1'000'000 + inode.changes % 1'000'000};
}

SimDisk::InodePtr SimDisk::make_inode(bool is_directory) {
  auto inode = std::make_shared<Inode>();
  inode->is_directory = is_directory;
  inode->number = ++last_inode_;
  inode->modified_ms = hooks_.now_ms();
  return inode;
}

SimDisk::InodePtr SimDisk::find(const std::string& path) const {
  const auto it = inodes_.find(path);
  return it != inodes_.end() ? it->second : nullptr;
}

Result<std::unique_ptr<File>> SimDisk::open(const std::string& path, OpenMode mode) {
  TRY(admit(path, "open"));
  InodePtr inode = find(path);
  if (inode && inode->is_directory) return errno_error(fmt::format("cannot open {}", path), EISDIR);
  if (!inode) {
    const InodePtr parent = find(parent_of(path));
    if (mode == OpenMode::kRead || !parent || !parent->is_directory)
      return errno_error(fmt::format("cannot open {}", path), ENOENT);
    inode = make_inode(false);
    inodes_.emplace(path, inode);
  }
  return std::unique_ptr<File>(std::make_unique<SimFile>(*this, path, std::move(inode)));
}

Status SimDisk::write(const std::string& path, Inode& inode, uint64_t offset,
                      std::span<const std::byte> bytes) {
  const auto put = [&](std::size_t n) {
    if (!inode.durable) inode.durable = inode.bytes;
    if (offset + n > inode.bytes.size()) inode.bytes.resize(offset + n);
    std::copy_n(bytes.begin(), n, inode.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    inode.modified_ms = hooks_.now_ms();
    ++inode.changes;
  };
  const bool was_frozen = frozen_;
  const Status admitted = admit(path, "write");
  if (!admitted) {
    // Any part of it may have been written, also when the process was killed in the middle.
    if (!was_frozen && !bytes.empty()) put(random_.below(bytes.size() + 1));
    return admitted;
  }
  if (const std::string* directory = data_dir_of(path)) {
    const uint64_t capacity = faults_.at(*directory).capacity;
    const uint64_t end = offset + bytes.size();
    const uint64_t more = end > inode.bytes.size() ? end - inode.bytes.size() : 0;
    const uint64_t used = capacity != UINT64_MAX ? used_below(*directory) : 0;
    if (more > 0 && used + more > capacity) {
      put(random_.below(bytes.size()));
      return errno_error(fmt::format("cannot write {} at offset {}", path, offset), ENOSPC);
    }
  }
  put(bytes.size());
  if (hooks_.written) hooks_.written(path, offset, bytes.size());
  return ok();
}

Status SimDisk::truncate(const std::string& path, Inode& inode, uint64_t size) {
  TRY(admit(path, "truncate"));
  if (!inode.durable) inode.durable = inode.bytes;
  inode.bytes.resize(size);
  return ok();
}

Result<FileInfo> SimDisk::stat(const std::string& path) {
  TRY(admit(path, "stat"));
  const InodePtr inode = find(path);
  if (!inode) return errno_error(fmt::format("cannot stat {}", path), ENOENT);
  FileInfo info;
  info.stamp = stamp_of(*inode);
  info.size = info.stamp.size;
  info.is_directory = inode->is_directory;
  info.is_regular = !inode->is_directory;
  info.is_read_only = inode->is_read_only;
  return info;
}

Result<std::vector<DirectoryEntry>> SimDisk::list(const std::string& path) {
  TRY(admit(path, "list"));
  const InodePtr inode = find(path);
  if (!inode || !inode->is_directory)
    return errno_error(fmt::format("cannot list {}", path), inode ? ENOTDIR : ENOENT);
  std::vector<DirectoryEntry> entries;
  for (auto it = inodes_.lower_bound(path + "/"); it != inodes_.end() && is_below(it->first, path);
       ++it) {
    const std::string name = it->first.substr(path.size() + 1);
    if (name.find('/') == std::string::npos) entries.push_back({name, it->second->is_directory});
  }
  // A real directory has no order.
  for (std::size_t i = entries.size(); i > 1; --i)
    std::swap(entries[i - 1], entries[random_.below(i)]);
  return entries;
}

Status SimDisk::make_directories(const std::string& path) {
  TRY(admit(path, "create the directory"));
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string directory = path.substr(0, slash);
    InodePtr& inode = inodes_[directory];
    if (!inode) inode = make_inode(true);
    if (!inode->is_directory)
      return errno_error(fmt::format("cannot create the directory {}", path), ENOTDIR);
    if (slash == std::string::npos) return ok();
  }
}

Status SimDisk::set_mode(const std::string& path, uint32_t mode) {
  TRY(admit(path, "change the mode of"));
  const InodePtr inode = find(path);
  if (!inode) return errno_error(fmt::format("cannot change the mode of {}", path), ENOENT);
  inode->is_read_only = (mode & 0222U) == 0;
  return ok();
}

Status SimDisk::rename(const std::string& from, const std::string& to) {
  TRY(admit(from, "rename"));
  const InodePtr inode = find(from);
  const auto refuse = [&](int why) {
    return errno_error(fmt::format("cannot rename {} to {}", from, to), why);
  };
  if (!inode || !find(parent_of(to))) return refuse(ENOENT);
  if (const InodePtr target = find(to); target && target->is_directory) return refuse(ENOTEMPTY);
  std::vector<std::pair<std::string, InodePtr>> moved = {{to, inode}};
  for (auto it = inodes_.lower_bound(from + "/");
       it != inodes_.end() && is_below(it->first, from);) {
    moved.emplace_back(to + it->first.substr(from.size()), it->second);
    it = inodes_.erase(it);
  }
  inodes_.erase(from);
  for (auto& [path, at] : moved) inodes_[path] = std::move(at);
  return ok();
}

Status SimDisk::remove_file(const std::string& path) {
  TRY(admit(path, "remove"));
  const InodePtr inode = find(path);
  if (!inode) return errno_error(fmt::format("cannot remove {}", path), ENOENT);
  if (inode->is_directory) return errno_error(fmt::format("cannot remove {}", path), EISDIR);
  inodes_.erase(path);
  return ok();
}

Status SimDisk::remove_empty_directory(const std::string& path) {
  TRY(admit(path, "remove the directory"));
  const auto refuse = [&](int why) {
    return errno_error(fmt::format("cannot remove the directory {}", path), why);
  };
  if (!find(path)) return refuse(ENOENT);
  const auto first = inodes_.lower_bound(path + "/");
  if (first != inodes_.end() && is_below(first->first, path)) return refuse(ENOTEMPTY);
  inodes_.erase(path);
  return ok();
}

Status SimDisk::remove_tree(const std::string& path) {
  TRY(admit(path, "remove the directory"));
  inodes_.erase(path);
  for (auto it = inodes_.lower_bound(path + "/"); it != inodes_.end() && is_below(it->first, path);)
    it = inodes_.erase(it);
  return ok();
}

Result<std::optional<std::string>> SimDisk::extended_attribute(const std::string& path,
                                                               const std::string& name) {
  TRY(admit(path, "read the attributes of"));
  const InodePtr inode = find(path);
  if (!inode) return errno_error(fmt::format("cannot read the attributes of {}", path), ENOENT);
  const auto it = inode->attributes.find(name);
  if (it == inode->attributes.end()) return std::optional<std::string>{};
  return std::optional<std::string>(it->second);
}

Result<DiskSpace> SimDisk::space(const std::string& path) {
  TRY(admit(path, "statvfs"));
  constexpr uint64_t kHuge = uint64_t{1} << 40U;
  const std::string* directory = data_dir_of(path);
  const uint64_t total =
      directory != nullptr ? std::min(kHuge, faults_.at(*directory).capacity) : kHuge;
  const uint64_t used = directory != nullptr && total < kHuge ? used_below(*directory) : 0;
  return DiskSpace{total, total - std::min(total, used)};
}

// ---- for the simulation ----------------------------------------------------------------------------

void SimDisk::set_attribute(const std::string& path, const std::string& name,
                            const std::string& value) {
  if (const InodePtr inode = find(path)) inode->attributes[name] = value;
}

void SimDisk::heal() {
  for (auto& [directory, faults] : faults_) faults = DiskFaults{};
}

const std::vector<std::byte>* SimDisk::peek(const std::string& path) const {
  const InodePtr inode = find(path);
  return inode && !inode->is_directory ? &inode->bytes : nullptr;
}

std::vector<std::string> SimDisk::files_below(const std::string& directory) const {
  std::vector<std::string> paths;
  for (auto it = inodes_.lower_bound(directory + "/");
       it != inodes_.end() && is_below(it->first, directory); ++it) {
    if (!it->second->is_directory) paths.push_back(it->first);
  }
  return paths;
}

std::optional<std::string> SimDisk::corrupt_one(
    const std::function<bool(const std::string&)>& eligible) {
  std::vector<std::pair<std::string, InodePtr>> found;
  for (const auto& [path, inode] : inodes_) {
    if (!inode->bytes.empty() && eligible(path)) found.emplace_back(path, inode);
  }
  if (found.empty()) return std::nullopt;
  const auto& [path, inode] = found[random_.below(found.size())];
  inode->bytes[random_.below(inode->bytes.size())] ^=
      static_cast<std::byte>(1U << random_.below(8));
  return path;
}

void SimDisk::harm(const std::string& path, Harm harm) {
  const InodePtr inode = find(path);
  if (!inode) return;
  switch (harm) {
    case Harm::kLost: inodes_.erase(path); break;
    case Harm::kCut:
      inode->bytes.resize(random_.below(std::max<std::size_t>(1, inode->bytes.size())));
      break;
    case Harm::kReplaced:
      for (std::byte& byte : inode->bytes) byte ^= std::byte{0x5A};
      break;
    case Harm::kUnreadable: inode->is_unreadable = true; break;
  }
}

void SimDisk::replace_disk(const std::string& data_dir) {
  for (auto it = inodes_.lower_bound(data_dir + "/");
       it != inodes_.end() && is_below(it->first, data_dir);)
    it = inodes_.erase(it);
}

void SimDisk::write_back() {
  for (const auto& [path, inode] : inodes_) inode->durable.reset();
}

void SimDisk::thaw(bool power_lost) {
  frozen_ = false;
  operations_to_crash_ = 0;
  if (!power_lost) return;
  for (const auto& [path, inode] : inodes_) {
    if (!inode->durable) continue;
    if (path.find("/merged/") != std::string::npos) {
      const std::size_t size = inode->bytes.size();
      const uint64_t fate = random_.below(3);  // written back in time; not at all; only the size
      if (fate > 0) inode->bytes = *inode->durable;
      if (fate == 2) inode->bytes.resize(size);
    }
    inode->durable.reset();
  }
}

}  // namespace shufflefs::sim
