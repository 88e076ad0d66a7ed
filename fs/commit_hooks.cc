#include "fs/commit_hooks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <thread>

#include "base/fd.h"
#include "base/log.h"

namespace shufflefs::fs {
namespace {

std::optional<std::string> path_of(const NameInTree& name) {
  auto path = name.backing_path();
  if (path) return std::move(*path);
  log_limited(LogLevel::kWarning, "commit.path_unknown",
              {{"name", name.name},
               {"reason", path.error().message},
               {"consequence", "found at the next scan"}});
  return std::nullopt;
}

// A lease is for the file's owner, or for who has CAP_LEASE, which containers often lack.
bool take_lease(int fd, uid_t owner) {
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) == 0) return true;
  if (errno != EACCES) return false;
  ::setfsuid(owner);
  const bool taken = ::fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
  const int error = errno;
  ::setfsuid(::geteuid());
  errno = error;
  return taken;
}

bool has_writer(int fd, uid_t owner) {
  // Whoever opens the file in this moment waits until the lease is given back, and we would get a
  // signal: one that is ignored.
  ::fcntl(fd, F_SETSIG, SIGURG);
  if (!take_lease(fd, owner)) return errno == EAGAIN;
  ::fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}

Error not_a_file(const std::string& path) {
  return make_error(Code::kInvalidArgument, path + " is not a regular file");
}

Status check_file(const std::string& path, const OpenForWriting& is_open) {
  struct stat attr{};
  if (::lstat(path.c_str(), &attr) != 0)
    return errno == ENOENT ? ok() : errno_error("cannot stat " + path);
  if (!S_ISREG(attr.st_mode)) return not_a_file(path);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC));
  if (!fd) return errno == ENOENT ? ok() : errno_error("cannot open " + path);
  if (::fstat(fd.get(), &attr) != 0) return errno_error("cannot stat " + path);
  if (!S_ISREG(attr.st_mode)) return not_a_file(path);
  if (attr.st_nlink > 1) {
    return Error{Code::kInvalidArgument, EMLINK,
                 fmt::format("{} has {} names, and could be changed by another one: remove it, or "
                             "copy the file",
                             path, attr.st_nlink)};
  }
  if ((is_open && is_open(attr.st_dev, attr.st_ino)) || has_writer(fd.get(), attr.st_uid)) {
    return Error{Code::kRefused, EBUSY,
                 path + " is open for writing, or mapped so: close it, then commit"};
  }
  return ok();
}

using merge::GenericName;
using merge::parse_generic_name;

bool is_final(GenericName kind) {
  return kind == GenericName::kDirectory || kind == GenericName::kData ||
         kind == GenericName::kIndex;
}

// Of a pair.
std::optional<std::string> other_half(std::string_view name) {
  const merge::ParsedGenericName parsed = parse_generic_name(name);
  if (parsed.kind == GenericName::kData) return fmt::format("{}.index", merge::number(parsed.map));
  if (parsed.kind == GenericName::kIndex) return fmt::format("{}.data", merge::number(parsed.map));
  return std::nullopt;
}

constexpr std::string_view kNaming =
    "names here are <mapId>, <mapId>.data, <mapId>.index, or anything that starts with a dot for "
    "what is not finished";

}  // namespace

void CommitWatch::appeared(const NameInTree& name) {
  if (auto path = path_of(name)) sink_.spark_file_appeared(std::move(*path));
}

void CommitWatch::removed(const NameInTree& name) {
  if (auto path = path_of(name)) sink_.spark_file_removed(std::move(*path));
}

Status CommitWatch::before_change(const NameInTree& target) {
  if (!sink_.has_quotas()) return ok();
  const auto path = path_of(target);
  return path ? sink_.check_quota(*path) : ok();
}

void CommitWatch::after_rename(const NameInTree& from, const NameInTree& to) {
  if (merge::parse_spark_name(from.name)) removed(from);
  if (merge::parse_spark_name(to.name)) appeared(to);
}

void CommitWatch::after_link(const NameInTree& to) {
  if (merge::parse_spark_name(to.name)) appeared(to);
}

void CommitWatch::after_remove(const NameInTree& target, bool was_directory) {
  if (!was_directory && merge::parse_spark_name(target.name)) removed(target);
}

void CommitWatch::after_write_close(const std::string& path) {
  if (merge::parse_spark_name(std::string_view(path).substr(path.rfind('/') + 1)))
    sink_.spark_file_appeared(path);
}

void CommitWatch::after_attribute(const std::string& path, std::string_view attribute) {
  if (attribute == merge::kAppAttribute) sink_.application_named(path);
}

Status check_settled(const std::string& path, const OpenForWriting& is_open) {
  struct stat attr{};
  if (::lstat(path.c_str(), &attr) != 0 || !S_ISDIR(attr.st_mode)) return check_file(path, is_open);
  std::error_code failed;
  for (std::filesystem::directory_iterator it(path, failed), end; !failed && it != end;
       it.increment(failed)) {
    TRY(check_file(it->path().string(), is_open));
  }
  return failed ? Status(errno_error("cannot list " + path, failed.value())) : ok();
}

void GenericMaps::log_refusal(std::string_view name, const Error& error) const {
  log_limited(LogLevel::kWarning, "commit.refused",
              {{"app", shuffle_.app.str()},
               {"shuffle", merge::number(shuffle_.shuffle)},
               {"name", name.substr(0, 80)},
               {"reason", error.message}});
}

Error GenericMaps::refuse(Code code, std::string_view name, std::string reason) const {
  Error error = make_error(code, std::move(reason));
  log_refusal(name, error);
  return error;
}

std::string GenericMaps::top_name(const NameInTree& target) const {
  if (target.in_tree_root) return std::string(target.name);
  const auto path = target.backing_path();
  if (!path || path->size() <= root_.size() + 1 || !path->starts_with(root_) ||
      (*path)[root_.size()] != '/')
    return "";
  const std::string below = path->substr(root_.size() + 1);
  return below.substr(0, below.find('/'));
}

bool GenericMaps::is_committed(std::string_view top) const {
  const merge::ParsedGenericName name = parse_generic_name(top);
  return is_final(name.kind) && sink_.is_committed(shuffle_, name.map);
}

Status GenericMaps::before_attributes(const NameInTree& target) {
  const std::string top = top_name(target);
  if (!is_committed(top)) return ok();
  return refuse(Code::kReadOnly, top,
                "it is committed, and committed map outputs do not change: remove it first");
}

Status GenericMaps::before_link(const NameInTree& to, nlink_t links) {
  if (links == 0 || !to.in_tree_root || !is_final(parse_generic_name(to.name).kind)) return ok();
  Error error{Code::kInvalidArgument, EMLINK,
              "a committed file has one name: rename it instead of linking it"};
  log_refusal(to.name, error);
  return error;
}

Result<CommitScope> GenericMaps::settle(const std::vector<std::string>& paths) {
  constexpr std::chrono::seconds kMaxWait{1};  // for closes that have been made already
  constexpr std::chrono::milliseconds kStep{1};
  const auto deadline = std::chrono::steady_clock::now() + kMaxWait;
  while (true) {
    CommitScope scope(gate_);
    Status settled = ok();
    for (const std::string& path : paths) {
      if (settled) settled = check_settled(path, is_open_);
    }
    if (settled) return scope;
    if (!may_settle(settled.error()) || std::chrono::steady_clock::now() >= deadline)
      return settled.error();
    scope.unlock();
    std::this_thread::sleep_for(kStep);
  }
}

Result<CommitScope> GenericMaps::commit_scope(const NameInTree& from, const NameInTree& to) {
  std::vector<std::string> paths;
  if (to.in_tree_root && is_final(parse_generic_name(to.name).kind)) {
    TRY_ASSIGN(std::string path, from.backing_path());
    paths.push_back(std::move(path));
    if (auto other = other_half(to.name)) paths.push_back(root_ + "/" + *other);
  }
  auto scope = settle(paths);
  if (!scope) log_refusal(to.name, scope.error());
  return scope;
}

Status GenericMaps::before_change(const NameInTree& target) {
  TRY(before_attributes(target));
  TRY(sink_.check_quota(shuffle_));
  return target.in_tree_root ? check_new_name(target) : ok();
}

Status GenericMaps::check_new_name(const NameInTree& target) const {
  switch (parse_generic_name(target.name).kind) {
    case GenericName::kBad:
      return refuse(Code::kInvalidArgument, target.name, std::string(kNaming));
    case GenericName::kDirectory:
      return refuse(Code::kInvalidArgument, target.name,
                    fmt::format("a map output gets its name by a rename, which commits it: make "
                                ".tmp-{0}, fill it and "
                                "rename it to {0}",
                                target.name));
    case GenericName::kTemporary:
    case GenericName::kData:
    case GenericName::kIndex: return ok();
  }
  return ok();
}

Status GenericMaps::before_rename(const NameInTree& from, const NameInTree& to) {
  TRY(before_attributes(from));
  TRY(before_attributes(to));
  return to.in_tree_root ? check_target(from, to) : ok();
}

Status GenericMaps::check_target(const NameInTree& from, const NameInTree& to) const {
  if (parse_generic_name(to.name).kind == GenericName::kTemporary) return ok();
  TRY_ASSIGN(const std::string path, from.backing_path());
  // It logs what it refuses and remembers it for the shuffle's status.
  TRY(sink_.check_generic(shuffle_, path, to.name));
  return ok();
}

void GenericMaps::appeared(std::string_view name) {
  if (!is_final(parse_generic_name(name).kind)) return;
  sink_.generic_appeared(shuffle_, std::string(name));
  changed_();
}

void GenericMaps::after_rename(const NameInTree& /*from*/, const NameInTree& to) {
  if (to.in_tree_root) appeared(to.name);
}

void GenericMaps::after_link(const NameInTree& to) {
  if (to.in_tree_root) appeared_in_place(to.name);
}

void GenericMaps::appeared_in_place(std::string_view name) {
  const auto other = other_half(name);
  if (!other) return;
  // Who still writes to either half commits both when it closes.
  for (const std::string& half : {std::string(name), *other}) {
    struct stat attr{};
    if (is_open_ && ::lstat((root_ + "/" + half).c_str(), &attr) == 0 &&
        is_open_(attr.st_dev, attr.st_ino))
      return;
  }
  const auto scope = settle({root_ + "/" + std::string(name), root_ + "/" + *other});
  if (scope)
    appeared(name);
  else
    log_refusal(name, scope.error());
}

void GenericMaps::after_remove(const NameInTree& target, bool /*was_directory*/) {
  const std::string top = top_name(target);
  const bool of_committed = is_committed(top);
  if (!of_committed && !(target.in_tree_root && is_final(parse_generic_name(top).kind))) return;
  sink_.generic_removed(shuffle_, top);
  changed_();
}

void GenericMaps::after_write_close(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos || path.substr(0, slash) != root_) return;
  const std::string name = path.substr(slash + 1);
  appeared_in_place(name);
}

}  // namespace shufflefs::fs
