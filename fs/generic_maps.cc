#include "fs/generic_maps.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include "base/log.h"

namespace shufflefs::fs {
namespace {

using merge::GenericName;
using merge::parse_generic_name;

bool is_final(GenericName kind) {
  return kind == GenericName::kDirectory || kind == GenericName::kData ||
         kind == GenericName::kIndex;
}

constexpr std::string_view kNaming =
    "names here are <mapId>, <mapId>.data, <mapId>.index, or anything that starts with a dot for "
    "what is not finished";

}  // namespace

Error GenericMaps::refuse(Code code, std::string_view name, std::string reason) const {
  log_limited(LogLevel::kWarning, "commit.refused",
              {{"app", shuffle_.app.str()},
               {"shuffle", merge::number(shuffle_.shuffle)},
               {"name", name.substr(0, 80)},
               {"reason", reason}});
  return make_error(code, std::move(reason));
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

Status GenericMaps::before_change(const NameInTree& target) {
  const std::string top = top_name(target);
  if (is_committed(top)) {
    return refuse(Code::kReadOnly, top,
                  "it is committed, and committed map outputs do not change: remove it first");
  }
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
  for (const NameInTree* name : {&from, &to}) {
    const std::string top = top_name(*name);
    if (is_committed(top)) {
      return refuse(Code::kReadOnly, top,
                    "it is committed, and committed map outputs do not change: remove it first");
    }
  }
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
  if (to.in_tree_root) appeared(to.name);
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
  const GenericName kind = parse_generic_name(name).kind;
  if (kind == GenericName::kData || kind == GenericName::kIndex) appeared(name);
}

}  // namespace shufflefs::fs
