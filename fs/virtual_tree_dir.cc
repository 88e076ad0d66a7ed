// VirtualTree: directories, mkdir, and what rm -r needs.
#include <algorithm>

#include "base/log.h"
#include "fs/directory_reply.h"
#include "fs/virtual_tree.h"

namespace shufflefs::fs {
namespace {

Owner caller_of(const Reply& reply) {
  const fuse_ctx* caller = fuse_req_ctx(reply.request());
  return {caller->uid, caller->gid};
}

}  // namespace

void VirtualTree::opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* /*info*/) {
  Reply reply(req);
  const RequestId request = current_request();
  drop_first_execution(request);
  auto node = inodes_.find(ino);
  if (!node) return reply.error(ESTALE);
  if (!is_directory(node->kind)) return reply.error(ENOTDIR);
  if (auto listing = contents_.listing_now(*node))
    return finish_opendir(std::move(reply), request.number, ino, std::move(*listing));
  gate_.spawn(opendir_later(std::move(reply), request.number, ino, std::move(*node)));
}

Task<void> VirtualTree::opendir_later(Reply reply, uint64_t request, fuse_ino_t ino,
                                      VirtualNode node) {
  auto listing = co_await contents_.listing(std::move(node));
  finish_opendir(std::move(reply), request, ino, std::move(listing));
}

void VirtualTree::finish_opendir(Reply reply, uint64_t request, fuse_ino_t ino,
                                 Result<Listing> listing) {
  if (!listing) return reply.error(listing.error());
  fuse_file_info info{};
  info.fh = handles_.add(
      {.nodeid = ino, .listing = std::make_shared<const Listing>(std::move(*listing))}, request);
  if (!reply.open(info)) handles_.remove(info.fh);
}

void VirtualTree::readdir(fuse_req_t req, fuse_ino_t /*ino*/, std::size_t size, off_t offset,
                          bool plus, fuse_file_info* info) {
  const VirtualOpen open = handles_.find(info->fh);
  if (!open.listing) return Reply(req).error(EBADF);
  DirectoryReply answer(req, size, plus);
  for (auto position = static_cast<uint64_t>(offset); position < open.listing->size(); ++position) {
    const Listing::Entry entry = open.listing->entry(position);
    if (!answer.add(entry.name.c_str(), entry.attr, static_cast<off_t>(position + 1))) break;
  }
  answer.send();
}

void VirtualTree::releasedir(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* info) {
  handles_.remove(info->fh);
  Reply(req).done();
}

void VirtualTree::mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t /*mode*/) {
  Reply reply(req);
  const auto directory = inodes_.find(parent);
  if (!directory) return reply.error(ESTALE);
  const bool may_make = directory->kind == NodeKind::kShuffles || directory->kind == NodeKind::kApp;
  const auto node = child(*directory, name);
  if (!may_make) {
    const auto facts = node ? contents_.facts_now(*node) : std::nullopt;
    bool is_there = facts && *facts;
    // The kernel may still know a shuffle that was dropped elsewhere a moment ago: mkdir -p makes
    // it anew, as it does once the kernel has forgotten it.
    if (!is_there && node && node->kind == NodeKind::kMaps) {
      const Status made = contents_.places().make_shuffle(node->key(), caller_of(reply));
      is_there = made || made.error().code == Code::kExists;
      if (!is_there) return reply.error(made.error());
    }
    return reply.error(is_there ? EEXIST : EROFS);
  }
  if (!node) {
    log_limited(LogLevel::kWarning, "namespace.bad_name",
                {{"operation", "mkdir"},
                 {"directory", path_of(*directory)},
                 {"reason", node.error().message}});
    return reply.error(node.error());
  }
  make_directory(std::move(reply), *node);
}

void VirtualTree::make_directory(Reply reply, const VirtualNode& node) {
  const Owner owner = caller_of(reply);
  VirtualPlaces& places = contents_.places();
  const Status made = node.kind == NodeKind::kApp ? places.make_app(node.app, owner)
                                                  : places.make_shuffle(node.key(), owner);
  // A request that comes again finds its own work.
  if (!made && (made.error().code != Code::kExists || !current_request().resent)) {
    if (made.error().code != Code::kExists) {
      log_warning("namespace.mkdir_failed",
                  {{"path", path_of(node)}, {"reason", made.error().message}});
    }
    return reply.error(made.error());
  }
  reply_entry(std::move(reply), remember(node, Facts{}, owner_of(node)));
}

// Under shuffles/ the files succeed in being removed and stay: rm -r must get as far as the rmdir
// of the shuffle, which is what drops it.
void VirtualTree::unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Reply reply(req);
  const auto directory = inodes_.find(parent);
  if (!directory) return reply.error(ESTALE);
  const auto node = child(*directory, name);
  if (!node) return reply.error(ENOENT);
  switch (node->kind) {
    case NodeKind::kPartition:
    case NodeKind::kMerged:
    case NodeKind::kIndex:
    case NodeKind::kStatus:
    case NodeKind::kMapFile: return reply.done();
    default: return reply.error(is_directory(node->kind) ? EISDIR : EROFS);
  }
}

void VirtualTree::rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Reply reply(req);
  const auto directory = inodes_.find(parent);
  if (!directory) return reply.error(ESTALE);
  const auto node = child(*directory, name);
  if (!node) return reply.error(ENOENT);
  switch (node->kind) {
    case NodeKind::kMaps:
    case NodeKind::kPartitions:
      inodes_.retire(*node);  // the kernel takes the inode for dead from now on
      return reply.done();
    case NodeKind::kApp:
    case NodeKind::kShuffle: return gate_.spawn(drop_later(std::move(reply), *node));
    default: return reply.error(is_directory(node->kind) ? EROFS : ENOTDIR);
  }
}

Task<void> VirtualTree::drop_later(Reply reply, VirtualNode node) {
  const bool whole_app = node.kind == NodeKind::kApp;
  const std::optional<merge::ShuffleId> shuffle =
      whole_app ? std::nullopt : std::optional(node.shuffle);
  const Owner app_owner = co_await owner_later(node);
  const Status dropped = co_await engine_.catalog().drop(node.app, shuffle);
  if (!dropped) {
    // The nodes that answered have dropped it, the others hear of it later: for the caller it is
    // gone.
    log_warning("namespace.drop_incomplete",
                {{"path", path_of(node)},
                 {"reason", dropped.error().message},
                 {"consequence", "those nodes keep their copies until they hear of it"}});
  }
  const bool forgotten = co_await offload(runtime_, [this, &node, whole_app, app_owner] {
    if (whole_app) {
      contents_.places().forget_app(node.app);
      trees_.remove_app(node.app);
    } else {
      contents_.places().forget_shuffle(node.key(), app_owner);
      trees_.remove_shuffle(node.key());
    }
    return true;
  });
  static_cast<void>(forgotten);
  contents_.dropped(node.app);
  inodes_.retire(node);
  reply.done();
}

}  // namespace shufflefs::fs
