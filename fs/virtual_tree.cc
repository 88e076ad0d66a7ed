// VirtualTree: life, lookup, attributes.
#include "fs/virtual_tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <ctime>

namespace shufflefs::fs {
namespace {

timespec now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

// How long the kernel may remember a name and its attributes. What another node can change or drop
// at any moment, which is everything below shuffles/: not at all.
double cache_seconds(NodeKind kind) {
  switch (kind) {
    case NodeKind::kRoot:
    case NodeKind::kLocal:
    case NodeKind::kShuffles:
    case NodeKind::kInfo:
    case NodeKind::kClient:
    case NodeKind::kJar:
    case NodeKind::kOwners: return 1.0;
    default: return 0.0;
  }
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
      trees_(native, engine, [this](const merge::ShuffleKey& key) { changed(key); }),
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

void VirtualTree::changed(const merge::ShuffleKey& key) {
  contents_.recent().forget_below("shuffles/" + to_string(key));
}

Owner VirtualTree::owner_of(const VirtualNode& node) {
  const bool is_of_app = node.kind >= NodeKind::kApp && node.kind <= NodeKind::kStatus;
  return is_of_app ? contents_.places().owner_of(node.app) : Owner{::geteuid(), ::getegid()};
}

Task<Owner> VirtualTree::owner_later(const VirtualNode& node) {
  return offload(runtime_, [this, &node] { return owner_of(node); });
}

struct stat VirtualTree::attributes(const VirtualNode& node, const Facts& facts, Owner owner) {
  constexpr blksize_t kBlock = 1 << 20;  // what cat and cp read at a time
  constexpr uint64_t kSector = 512;
  struct stat attr{};
  attr.st_ino = stable_inode_number(node);
  attr.st_mode = mode_of(node.kind);
  attr.st_nlink = is_directory(node.kind) ? 2 : 1;
  attr.st_uid = owner.uid;
  attr.st_gid = owner.gid;
  attr.st_blksize = kBlock;
  if (!is_directory(node.kind)) {
    attr.st_size = static_cast<off_t>(facts.size);
    attr.st_blocks = static_cast<blkcnt_t>((facts.size + kSector - 1) / kSector);
  }
  attr.st_atim = attr.st_mtim = attr.st_ctim = start_;
  return attr;
}

fuse_entry_param VirtualTree::remember(const VirtualNode& node, const Facts& facts, Owner owner) {
  fuse_entry_param entry{};
  entry.attr = attributes(node, facts, owner);
  entry.attr_timeout = entry.entry_timeout = cache_seconds(node.kind);
  entry.ino = inodes_.remember(node);
  return entry;
}

void VirtualTree::reply_entry(Reply reply, const fuse_entry_param& entry) {
  if (reply.entry(entry)) return;
  if (is_virtual(entry.ino))
    inodes_.forget(entry.ino, 1);
  else
    trees_.give_back(entry);
}

// The native tree of the shuffle's maps/, or the virtual directory of what Spark wrote. Looks at
// the disk, and makes the native tree's directory if there is none.
Result<fuse_entry_param> VirtualTree::maps_entry(const VirtualNode& node) {
  VirtualPlaces& places = contents_.places();
  if (places.shows_spark_maps(node.key())) return remember(node, Facts{}, owner_of(node));
  TRY_ASSIGN(const std::string directory, places.generic_directory(node.key()));
  return trees_.maps(node.key(), directory);
}

void VirtualTree::lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Reply reply(req);
  const auto directory = inodes_.find(parent);
  if (!directory) return reply.error(ESTALE);
  auto node = child(*directory, name);
  if (!node) return reply.error(ENOENT);
  if (node->kind == NodeKind::kLocalDisk) {
    const auto entry = trees_.disk(node->disk);
    return entry ? reply_entry(std::move(reply), *entry) : reply.error(entry.error());
  }
  const auto facts = contents_.facts_now(*node);
  if (!facts && node->kind == NodeKind::kMaps) {
    return gate_.spawn(lookup_maps_later(std::move(reply), std::move(*node)));
  }
  if (!facts) return gate_.spawn(lookup_later(std::move(reply), std::move(*node)));
  if (!*facts) return reply.error(facts->error());
  if (node->kind == NodeKind::kMaps) {
    const auto entry = maps_entry(*node);
    return entry ? reply_entry(std::move(reply), *entry) : reply.error(entry.error());
  }
  reply_entry(std::move(reply), remember(*node, **facts, owner_of(*node)));
}

Task<void> VirtualTree::lookup_later(Reply reply, VirtualNode node) {
  const auto facts = co_await contents_.facts(node);
  if (!facts) co_return reply.error(facts.error());
  const Owner owner = co_await owner_later(node);
  reply_entry(std::move(reply), remember(node, *facts, owner));
}

Task<void> VirtualTree::lookup_maps_later(Reply reply, VirtualNode node) {
  const auto facts = co_await contents_.facts(node);
  if (!facts) co_return reply.error(facts.error());
  const auto entry = co_await offload(runtime_, [this, &node] { return maps_entry(node); });
  if (entry)
    reply_entry(std::move(reply), *entry);
  else
    reply.error(entry.error());
}

void VirtualTree::forget(fuse_ino_t ino, uint64_t count) { inodes_.forget(ino, count); }

void VirtualTree::getattr(fuse_req_t req, fuse_ino_t ino) {
  Reply reply(req);
  auto node = inodes_.find(ino);
  if (!node) return reply.error(ESTALE);
  const double cached = cache_seconds(node->kind);
  if (is_directory(node->kind))
    return reply.attributes(attributes(*node, Facts{}, owner_of(*node)), cached);
  if (const auto open_bytes = modes_.bytes(ino)) {
    Facts facts;
    facts.size = *open_bytes;
    return reply.attributes(attributes(*node, facts, owner_of(*node)), cached);
  }
  const auto facts = contents_.facts_now(*node);
  if (!facts) return gate_.spawn(getattr_later(std::move(reply), std::move(*node)));
  if (!*facts) return reply.error(facts->error());
  reply.attributes(attributes(*node, **facts, owner_of(*node)), cached);
}

Task<void> VirtualTree::getattr_later(Reply reply, VirtualNode node) {
  const auto facts = co_await contents_.facts(node);
  if (!facts) co_return reply.error(facts.error());
  const Owner owner = co_await owner_later(node);
  reply.attributes(attributes(node, *facts, owner), cache_seconds(node.kind));
}

void VirtualTree::setattr(fuse_req_t req, fuse_ino_t ino, const struct stat* /*attr*/, int to_set) {
  // A report is opened with O_TRUNC by most, which comes as a size to set: it has no bytes to lose.
  constexpr int kOfTruncation = FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME |
                                FUSE_SET_ATTR_FILE | FUSE_SET_ATTR_OPEN | FUSE_SET_ATTR_KILL_SUID |
                                FUSE_SET_ATTR_KILL_SGID | FUSE_SET_ATTR_KILL_PRIV;
  const auto node = inodes_.find(ino);
  if (node && node->kind == NodeKind::kReport && (to_set & ~kOfTruncation) == 0)
    return getattr(req, ino);
  Reply(req).error(EROFS);
}

void VirtualTree::readlink(fuse_req_t req, fuse_ino_t /*ino*/) { Reply(req).error(EINVAL); }

void VirtualTree::getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) {
  Reply reply(req);
  auto node = inodes_.find(ino);
  if (!node) return reply.error(ESTALE);
  // Programs ask for many others (security.capability, system.posix_acl_access, ...): no network
  // for those.
  const auto names = VirtualContents::attribute_names(node->kind);
  if (std::ranges::find(names, std::string_view(name)) == names.end()) return reply.error(ENODATA);
  gate_.spawn(getxattr_later(std::move(reply), std::move(*node), name, size));
}

Task<void> VirtualTree::getxattr_later(Reply reply, VirtualNode node, std::string name,
                                       std::size_t size) {
  const auto facts = co_await contents_.facts(std::move(node));
  if (!facts) co_return reply.error(facts.error());
  for (const auto& [known, value] : facts->attributes) {
    if (known == name) co_return reply.xattr(value, size);
  }
  reply.error(ENODATA);
}

void VirtualTree::listxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) {
  Reply reply(req);
  const auto node = inodes_.find(ino);
  if (!node) return reply.error(ESTALE);
  std::string names;
  for (const std::string& name : VirtualContents::attribute_names(node->kind))
    names.append(name).push_back('\0');
  reply.xattr(names, size);
}

}  // namespace shufflefs::fs
