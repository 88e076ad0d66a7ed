#include "fs/virtual_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <map>

#include "base/log.h"
#include "merge/plan_codec.h"

namespace shufflefs::fs {
namespace {

timespec now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

// Answered with that errno; nobody reads more of it.
Error refused(int error_number) { return Error{Code::kInvalidArgument, error_number, {}}; }

// Two opens of it may show different bytes (passthrough.h).
bool is_growing(PathKind kind) { return kind == PathKind::kPartition || kind == PathKind::kMerged; }

bool may_make_in(PathKind directory) {
  return directory == PathKind::kShuffles || directory == PathKind::kApp;
}

std::optional<std::string> content_of(const Fd& memory) {
  struct stat attr{};
  if (!memory || ::fstat(memory.get(), &attr) != 0) return std::nullopt;
  std::string bytes(static_cast<std::size_t>(attr.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(memory.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (got <= 0) return std::nullopt;
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

}  // namespace

VirtualTree::VirtualTree(merge::Engine& engine, merge::Cluster& cluster, NativeFs& native,
                         Passthrough& passthrough, InfoTexts texts, SavedState& state,
                         KeptFiles* kept, ClientFiles client)
    : runtime_(engine.runtime()),
      engine_(engine),
      native_(native),
      passthrough_(passthrough),
      report_(client.report),
      start_(now()),
      contents_(engine, cluster, std::move(texts), state.take(SavedPart::kEmptyApps),
                std::move(client.directory)),
      trees_(native, engine, [this](const merge::ShuffleKey& key) { contents_.changed(key); }),
      inodes_(state.take(SavedPart::kVirtualNames), state.take(SavedPart::kVirtualLongNames)),
      handles_(state.take(SavedPart::kVirtualOpens), kept),
      gate_(runtime_, "namespace") {}

Task<void> VirtualTree::stop() {
  co_await gate_.close();
  co_await contents_.close();
  for (const VirtualOpen& open : handles_.remove_all()) {
    if (open.file) co_await open.file->close();
  }
}

// ---- names and attributes

Owner VirtualTree::owner_of(const VirtualPath& path) {
  return is_within(path.kind, PathKind::kApp) ? contents_.places().owner_of(path.app)
                                              : Owner{::geteuid(), ::getegid()};
}

VirtualAttributes VirtualTree::attributes(const VirtualPath& path, uint64_t bytes) {
  constexpr blksize_t kBlock = 1 << 20;  // what cat and cp read at a time
  constexpr uint64_t kSector = 512;
  const PathRow& row = row_of(path.kind);
  const Owner owner = owner_of(path);
  VirtualAttributes result{.attr = {}, .cache_seconds = row.cache_seconds};
  struct stat& attr = result.attr;
  attr.st_ino = stable_inode_number(path);
  attr.st_mode = row.mode;
  attr.st_nlink = is_directory(path.kind) ? 2 : 1;
  attr.st_uid = owner.uid;
  attr.st_gid = owner.gid;
  attr.st_blksize = kBlock;
  attr.st_size = static_cast<off_t>(bytes);
  attr.st_blocks = static_cast<blkcnt_t>((bytes + kSector - 1) / kSector);
  attr.st_atim = attr.st_mtim = attr.st_ctim = start_;
  return result;
}

Result<fuse_entry_param> VirtualTree::entry(const VirtualPath& path, uint64_t bytes) {
  VirtualPlaces& places = contents_.places();
  // maps/ is a native tree, or the virtual directory of what Spark wrote.
  if (path.kind == PathKind::kMaps && !places.shows_spark_maps(path.key())) {
    TRY_ASSIGN(const std::string directory, places.generic_directory(path.key()));
    return trees_.maps(path.key(), directory);
  }
  const VirtualAttributes found = attributes(path, bytes);
  fuse_entry_param entry{};
  entry.attr = found.attr;
  entry.attr_timeout = entry.entry_timeout = found.cache_seconds;
  entry.ino = inodes_.remember(path);
  return entry;
}

Answer<fuse_entry_param> VirtualTree::lookup(fuse_ino_t parent, std::string_view name) {
  const auto directory = inodes_.find(parent);
  if (!directory) return refused(ESTALE);
  auto path = child(*directory, name);
  if (!path) return refused(ENOENT);
  if (path->kind == PathKind::kLocalDisk) return trees_.disk(path->disk);
  const auto facts = contents_.facts_now(*path);
  if (!facts) return lookup_later(std::move(*path));
  if (!*facts) return facts->error();
  return entry(*path, (*facts)->size);
}

Task<Result<fuse_entry_param>> VirtualTree::lookup_later(VirtualPath path) {
  CO_TRY_ASSIGN(const Facts facts, co_await contents_.facts(path));
  co_return co_await offload(runtime_, [&] { return entry(path, facts.size); });
}

void VirtualTree::give_back(const fuse_entry_param& entry) {
  if (is_virtual(entry.ino))
    inodes_.forget(entry.ino, 1);
  else
    trees_.give_back(entry);
}

Answer<VirtualAttributes> VirtualTree::getattr(fuse_ino_t ino) {
  auto path = inodes_.find(ino);
  if (!path) return refused(ESTALE);
  if (is_directory(path->kind)) return attributes(*path, 0);
  if (const auto open_bytes = modes_.bytes(ino)) return attributes(*path, *open_bytes);
  const auto facts = contents_.facts_now(*path);
  if (!facts) return getattr_later(std::move(*path));
  if (!*facts) return facts->error();
  return attributes(*path, (*facts)->size);
}

Task<Result<VirtualAttributes>> VirtualTree::getattr_later(VirtualPath path) {
  CO_TRY_ASSIGN(const Facts facts, co_await contents_.facts(path));
  co_return co_await offload(runtime_, [&] { return attributes(path, facts.size); });
}

Answer<VirtualAttributes> VirtualTree::setattr(fuse_ino_t ino, int to_set) {
  // A report is opened with O_TRUNC by most, which comes as a size to set: it has no bytes to lose.
  constexpr int kOfTruncation = FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME |
                                FUSE_SET_ATTR_FILE | FUSE_SET_ATTR_OPEN | FUSE_SET_ATTR_KILL_SUID |
                                FUSE_SET_ATTR_KILL_SGID | FUSE_SET_ATTR_KILL_PRIV;
  const auto path = inodes_.find(ino);
  if (path && path->kind == PathKind::kReport && (to_set & ~kOfTruncation) == 0)
    return getattr(ino);
  return refused(EROFS);
}

Answer<std::string> VirtualTree::getxattr(fuse_ino_t ino, std::string name) {
  auto path = inodes_.find(ino);
  if (!path) return refused(ESTALE);
  // Programs ask for many others (security.capability, system.posix_acl_access, ...): no network
  // for those.
  const auto names = row_of(path->kind).attributes;
  if (std::ranges::find(names, name) == names.end()) return refused(ENODATA);
  return getxattr_later(std::move(*path), std::move(name));
}

Task<Result<std::string>> VirtualTree::getxattr_later(VirtualPath path, std::string name) {
  CO_TRY_ASSIGN(const Facts facts, co_await contents_.facts(std::move(path)));
  for (const auto& [known, value] : facts.attributes) {
    if (known == name) co_return value;
  }
  co_return refused(ENODATA);
}

Result<std::string> VirtualTree::listxattr(fuse_ino_t ino) {
  const auto path = inodes_.find(ino);
  if (!path) return refused(ESTALE);
  std::string names;
  for (const std::string_view name : row_of(path->kind).attributes)
    names.append(name).push_back('\0');
  return names;
}

// ---- open files

// What the same request opened before a worker died, the kernel never learnt of.
void VirtualTree::drop_first_execution(const RequestId& request) {
  if (!request.resent) return;
  if (const uint64_t key = handles_.key_of_request(request.number); key != 0) release(key);
}

Answer<fuse_file_info> VirtualTree::open(fuse_ino_t ino, int flags) {
  const RequestId request = current_request();
  drop_first_execution(request);
  auto path = inodes_.find(ino);
  if (!path) return refused(ESTALE);
  if (path->kind != PathKind::kReport &&
      ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0))
    return refused(EROFS);
  return open_later(request.number, ino, std::move(*path));
}

Task<Result<fuse_file_info>> VirtualTree::open_later(uint64_t request, fuse_ino_t ino,
                                                     VirtualPath path) {
  CO_TRY_ASSIGN(OpenedFile opened, co_await contents_.open(path));
  fuse_file_info info{};
  info.direct_io = 1;
  info.noflush = 1;
  VirtualOpen open{.nodeid = ino, .file = opened.file};
  if (is_growing(path.kind)) {
    const bool possible = choose_mode(ino, opened, info, open);
    inodes_.retire(ino);  // the next open gets an inode of its own
    if (!possible) {
      close_file(std::move(opened.file));
      co_return refused(ESTALE);
    }
  }
  info.fh = handles_.add(std::move(open), request);
  co_return info;
}

// False: this inode cannot take the open (passthrough.h).
bool VirtualTree::choose_mode(fuse_ino_t ino, const OpenedFile& opened, fuse_file_info& info,
                              VirtualOpen& open) {
  const uint64_t bytes = opened.file->size();
  OpenModes::Verdict verdict = modes_.begin(ino, bytes, opened.whole.has_value());
  if (verdict == OpenModes::Verdict::kPassthrough) {
    if (passthrough_.open(ino, opened.whole->get(), info)) {
      modes_.opened(ino, bytes);
      info.direct_io = 0;  // it would go before passthrough
      open.backing_id = info.backing_id;
    } else {
      passthrough_.close(ino);
      verdict = modes_.begin(ino, bytes, false);
    }
  }
  if (verdict == OpenModes::Verdict::kStale) return false;
  open.has_mode = true;
  return true;
}

// An open file is there, whatever has become of what it shows: its reads give data or EIO.
Answer<VirtualBytes> VirtualTree::read(uint64_t handle, uint64_t offset, uint32_t size) {
  VirtualOpen open = handles_.find(handle);
  if (!open.file) return refused(EIO);
  if (open.file->is_stream()) return read_later(std::move(open.file), offset, size);
  VirtualBytes bytes{.file = std::move(open.file)};
  bytes.fd = bytes.file->descriptor();
  const std::string_view text = bytes.file->text();
  if (offset < text.size()) bytes.text = text.substr(offset, size);
  return bytes;
}

Task<Result<VirtualBytes>> VirtualTree::read_later(std::shared_ptr<VirtualFile> file,
                                                   uint64_t offset, uint32_t size) {
  auto bytes = co_await file->read(offset, size);
  if (!bytes) co_return refused(EIO);  // the log says why
  co_return VirtualBytes{.file = std::move(file), .buffer = std::move(*bytes)};
}

Status VirtualTree::write(fuse_ino_t ino, std::string_view report) {
  const auto path = inodes_.find(ino);
  if (!path || path->kind != PathKind::kReport || report_ == nullptr) return refused(EROFS);
  return report_->take(report);
}

void VirtualTree::release(uint64_t handle) {
  VirtualOpen open = handles_.remove(handle);
  if (open.backing_id != 0) passthrough_.close(open.nodeid);
  if (open.has_mode) modes_.released(open.nodeid);
  close_file(std::move(open.file));
}

void VirtualTree::close_file(std::shared_ptr<VirtualFile> file) {
  if (!file || !file->is_stream()) return;
  gate_.spawn([](std::shared_ptr<VirtualFile> closed) -> Task<void> {
    co_await closed->close();
  }(std::move(file)));
}

// ---- directories

Answer<fuse_file_info> VirtualTree::opendir(fuse_ino_t ino) {
  const RequestId request = current_request();
  drop_first_execution(request);
  auto path = inodes_.find(ino);
  if (!path) return refused(ESTALE);
  if (!is_directory(path->kind)) return refused(ENOTDIR);
  if (auto listing = contents_.listing_now(*path))
    return add_listing(request.number, ino, std::move(*listing));
  return opendir_later(request.number, ino, std::move(*path));
}

Task<Result<fuse_file_info>> VirtualTree::opendir_later(uint64_t request, fuse_ino_t ino,
                                                        VirtualPath path) {
  co_return add_listing(request, ino, co_await contents_.listing(std::move(path)));
}

Result<fuse_file_info> VirtualTree::add_listing(uint64_t request, fuse_ino_t ino,
                                                Result<Listing> listing) {
  if (!listing) return listing.error();
  fuse_file_info info{};
  info.fh = handles_.add(
      {.nodeid = ino, .listing = std::make_shared<const Listing>(std::move(*listing))}, request);
  return info;
}

std::shared_ptr<const Listing> VirtualTree::listing(uint64_t handle) const {
  return handles_.find(handle).listing;
}

Result<fuse_entry_param> VirtualTree::mkdir(fuse_ino_t parent, std::string_view name,
                                            Owner caller) {
  const auto directory = inodes_.find(parent);
  if (!directory) return refused(ESTALE);
  const auto path = child(*directory, name);
  VirtualPlaces& places = contents_.places();
  if (!may_make_in(directory->kind)) {
    const auto facts = path ? contents_.facts_now(*path) : std::nullopt;
    if (facts && *facts) return refused(EEXIST);
    if (!path || path->kind != PathKind::kMaps) return refused(EROFS);
    // The kernel may still know a shuffle that was dropped elsewhere a moment ago: mkdir -p makes
    // it anew, as it does once the kernel has forgotten it.
    const Status made = places.make_shuffle(path->key(), caller);
    if (made || made.error().code == Code::kExists) return refused(EEXIST);
    return made.error();
  }
  if (!path) {
    log_limited(LogLevel::kWarning, "namespace.bad_name",
                {{"operation", "mkdir"},
                 {"directory", path_of(*directory)},
                 {"reason", path.error().message}});
    return path.error();
  }
  const Status made = path->kind == PathKind::kApp ? places.make_app(path->app, caller)
                                                   : places.make_shuffle(path->key(), caller);
  const bool is_there = !made && made.error().code == Code::kExists;
  if (!made && !is_there) {
    log_warning("namespace.mkdir_failed",
                {{"path", path_of(*path)}, {"reason", made.error().message}});
  }
  // A request that comes again finds its own work.
  if (!made && !(is_there && current_request().resent)) return made.error();
  return entry(*path, 0);
}

// Under shuffles/ the files succeed in being removed and stay: rm -r must get as far as the rmdir
// of the shuffle, which is what drops it.
Status VirtualTree::unlink(fuse_ino_t parent, std::string_view name) {
  const auto directory = inodes_.find(parent);
  if (!directory) return refused(ESTALE);
  const auto path = child(*directory, name);
  if (!path) return refused(ENOENT);
  if (is_directory(path->kind)) return refused(EISDIR);
  return row_of(path->kind).removal == Removal::kPretended ? ok() : Status(refused(EROFS));
}

Answer<void> VirtualTree::rmdir(fuse_ino_t parent, std::string_view name) {
  const auto directory = inodes_.find(parent);
  if (!directory) return refused(ESTALE);
  const auto path = child(*directory, name);
  if (!path) return refused(ENOENT);
  if (!is_directory(path->kind)) return refused(ENOTDIR);
  switch (row_of(path->kind).removal) {
    case Removal::kRefused: return refused(EROFS);
    case Removal::kPretended:
      inodes_.retire(*path);  // the kernel takes the inode for dead from now on
      return ok();
    case Removal::kDrops: return drop_later(*path);
  }
  return refused(EROFS);
}

Task<Status> VirtualTree::drop_later(VirtualPath path) {
  const bool whole_app = path.kind == PathKind::kApp;
  const std::optional<merge::ShuffleId> shuffle =
      whole_app ? std::nullopt : std::optional(path.shuffle);
  const Owner app_owner = co_await offload(runtime_, [&] { return owner_of(path); });
  const Status dropped = co_await engine_.catalog().drop(path.app, shuffle);
  if (!dropped) {
    // The nodes that answered have dropped it, the others hear of it later: for the caller it is
    // gone.
    log_warning("namespace.drop_incomplete",
                {{"path", path_of(path)},
                 {"reason", dropped.error().message},
                 {"consequence", "those nodes keep their copies until they hear of it"}});
  }
  CO_TRY(co_await offload(runtime_, [&] {
    if (whole_app) {
      contents_.places().forget_app(path.app);
      trees_.remove_app(path.app);
    } else {
      contents_.places().forget_shuffle(path.key(), app_owner);
      trees_.remove_shuffle(path.key());
    }
    return ok();
  }));
  contents_.dropped(path.app);
  inodes_.retire(path);
  co_return ok();
}

// ---- after a worker's death: what it had shown, and what is open still

Status VirtualTree::prepare() {
  TRY(trees_.add_disks());
  trees_.restore();
  return ok();
}

void VirtualTree::restore_open_files(SavedState& state) {
  const std::size_t lost = native_.restore_open_files(passthrough_);
  std::map<uint64_t, Fd> snapshots;
  for (KeptFile& file : state.kept) {
    if (file.kind == KeptKind::kVirtualOpen) snapshots.emplace(file.id, std::move(file.fd));
  }
  const std::vector<VirtualOpenRecord> opens = handles_.saved();
  for (const VirtualOpenRecord& record : opens)
    restore_open(record, std::move(snapshots[record.key]));
  if (state.generation > 0) {
    log_info("mount.taken_over", {{"generation", state.generation},
                                  {"known_files", native_.known_inodes()},
                                  {"known_names", inodes_.size()},
                                  {"open_partitions", opens.size()},
                                  {"open_files_lost", lost}});
  }
}

std::shared_ptr<VirtualFile> VirtualTree::restored_file(const VirtualOpenRecord& record,
                                                        const VirtualPath& path, Fd snapshot) {
  if (record.kind == SnapshotKind::kBacking)
    return snapshot ? std::make_shared<VirtualFile>(std::move(snapshot), record.bytes) : nullptr;
  auto bytes = content_of(snapshot);
  if (!bytes) return nullptr;
  if (record.kind == SnapshotKind::kText) return std::make_shared<VirtualFile>(std::move(*bytes));
  auto plan = merge::decode_plan(*bytes);
  if (!plan) return nullptr;
  return std::make_shared<VirtualFile>(std::make_shared<CheckedStream>(
      runtime_, engine_.open_stream(std::move(*plan)), path.kind == PathKind::kPartition));
}

void VirtualTree::restore_open(const VirtualOpenRecord& record, Fd snapshot) {
  VirtualOpen open{
      .nodeid = record.nodeid, .has_mode = record.has_mode != 0, .backing_id = record.backing_id};
  const auto path = inodes_.find(record.nodeid);
  if (path && record.kind == SnapshotKind::kListing) {
    if (const auto bytes = content_of(snapshot))
      open.listing = std::make_shared<const Listing>(*path, lines_of(*bytes), record.partitions);
  } else if (path) {
    open.file = restored_file(record, *path, std::move(snapshot));
  }
  if (!open.file && !open.listing) {
    log_error("mount.open_partition_lost",
              {{"path", path ? path_of(*path) : "?"}, {"consequence", "its reads fail with EIO"}});
  }
  if (record.backing_id != 0) passthrough_.restore(record.nodeid, record.backing_id);
  if (record.has_mode != 0 && record.backing_id != 0)
    modes_.opened(record.nodeid, record.bytes);
  else if (record.has_mode != 0)
    static_cast<void>(modes_.begin(record.nodeid, record.bytes, false));
  handles_.restore(record, std::move(open));
}

}  // namespace shufflefs::fs
