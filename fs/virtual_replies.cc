#include "fs/virtual_replies.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "fs/directory.h"

namespace shufflefs::fs {
namespace {

// One request. Answered once, with EIO by the destructor at the latest: a coroutine that is
// cancelled at stop or dropped unrun by a closed gate answers too.
class Request {
 public:
  explicit Request(fuse_req_t req) : req_(req) {}
  Request(Request&& other) noexcept : req_(std::exchange(other.req_, nullptr)) {}
  Request& operator=(Request&&) = delete;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request() {
    if (req_ != nullptr) fuse_reply_err(req_, EIO);
  }
  [[nodiscard]] fuse_req_t take() { return std::exchange(req_, nullptr); }

 private:
  fuse_req_t req_;
};

void reply_status(fuse_req_t req, const Status& status) {
  fuse_reply_err(req, status ? 0 : status.error().fuse_errno());
}

// Send: void(fuse_req_t, T), answers with a result; errors are answered here.
template <class T, class Send>
void send_result(Request request, Result<T> result, const Send& send) {
  if (!result)
    fuse_reply_err(request.take(), result.error().fuse_errno());
  else if constexpr (std::is_void_v<T>)
    send(request.take());
  else
    send(request.take(), std::move(*result));
}

template <class T, class Send>
Task<void> send_later(Request request, Task<Result<T>> task, Send send) {
  auto result = co_await std::move(task);
  send_result<T>(std::move(request), std::move(result), send);
}

template <class T, class Send>
void answer(VirtualTree& tree, fuse_req_t req, Answer<T> given, Send send) {
  Request request(req);
  if (auto* const now = std::get_if<0>(&given))
    send_result<T>(std::move(request), std::move(*now), send);
  else
    tree.gate().spawn(
        send_later<T>(std::move(request), std::move(std::get<1>(given)), std::move(send)));
}

void reply_bytes(fuse_req_t req, std::span<const std::byte> bytes) {
  fuse_reply_buf(req, reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// Which the kernel may splice.
void reply_range(fuse_req_t req, int fd, std::size_t size, off_t offset) {
  fuse_bufvec vector{};
  vector.count = 1;
  vector.buf[0].size = size;
  vector.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
  vector.buf[0].fd = fd;
  vector.buf[0].pos = offset;
  fuse_reply_data(req, &vector, FUSE_BUF_SPLICE_MOVE);
}

// An extended attribute or a list of them.
void reply_xattr(fuse_req_t req, std::string_view value, std::size_t room) {
  if (room == 0)
    fuse_reply_xattr(req, value.size());
  else if (room < value.size())
    fuse_reply_err(req, ERANGE);
  else
    fuse_reply_buf(req, value.data(), value.size());
}

auto entry_sender(VirtualTree& tree) {
  return [&tree](fuse_req_t req, const fuse_entry_param& entry) {
    if (fuse_reply_entry(req, &entry) != 0) tree.give_back(entry);
  };
}

auto attribute_sender() {
  return [](fuse_req_t req, const VirtualAttributes& found) {
    fuse_reply_attr(req, &found.attr, found.cache_seconds);
  };
}

auto open_sender(VirtualTree& tree) {
  return [&tree](fuse_req_t req, const fuse_file_info& info) {
    if (fuse_reply_open(req, &info) != 0) tree.release(info.fh);
  };
}

}  // namespace

void VirtualReplies::lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  answer(tree_, req, tree_.lookup(parent, name), entry_sender(tree_));
}

void VirtualReplies::getattr(fuse_req_t req, fuse_ino_t ino) {
  answer(tree_, req, tree_.getattr(ino), attribute_sender());
}

void VirtualReplies::setattr(fuse_req_t req, fuse_ino_t ino, const struct stat* /*attr*/,
                             int to_set) {
  answer(tree_, req, tree_.setattr(ino, to_set), attribute_sender());
}

void VirtualReplies::readlink(fuse_req_t req, fuse_ino_t /*ino*/) { fuse_reply_err(req, EINVAL); }

void VirtualReplies::open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  answer(tree_, req, tree_.open(ino, info->flags), open_sender(tree_));
}

void VirtualReplies::read(fuse_req_t req, fuse_ino_t /*ino*/, std::size_t size, off_t offset,
                          fuse_file_info* info) {
  const auto wanted = static_cast<uint32_t>(std::min<std::size_t>(size, merge::kMaxReadBytes));
  answer(tree_, req, tree_.read(info->fh, static_cast<uint64_t>(offset), wanted),
         [wanted, offset](fuse_req_t to, const VirtualBytes& bytes) {
           if (bytes.fd >= 0)
             reply_range(to, bytes.fd, wanted, offset);
           else if (bytes.buffer.size() > 0)
             reply_bytes(to, bytes.buffer.span());
           else
             reply_bytes(to, std::as_bytes(std::span(bytes.text)));
         });
}

void VirtualReplies::write(fuse_req_t req, fuse_ino_t ino, fuse_bufvec* in,
                           fuse_file_info* /*info*/) {
  std::array<char, ClientReport::kMaxBytes> text{};
  const std::size_t size = fuse_buf_size(in);
  ssize_t copied = 0;  // of what is too long nothing: not a report either
  if (size <= text.size()) {
    fuse_bufvec out{};
    out.count = 1;
    out.buf[0].mem = text.data();
    out.buf[0].size = size;
    copied = fuse_buf_copy(&out, in, static_cast<fuse_buf_copy_flags>(0));
  }
  if (copied < 0) return void(fuse_reply_err(req, static_cast<int>(-copied)));
  const Status taken = tree_.write(ino, {text.data(), static_cast<std::size_t>(copied)});
  if (!taken) return reply_status(req, taken);
  fuse_reply_write(req, size);
}

void VirtualReplies::release(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* info) {
  tree_.release(info->fh);
  fuse_reply_err(req, 0);
}

void VirtualReplies::opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* /*info*/) {
  answer(tree_, req, tree_.opendir(ino), open_sender(tree_));
}

void VirtualReplies::readdir(fuse_req_t req, fuse_ino_t /*ino*/, std::size_t size, off_t offset,
                             bool plus, fuse_file_info* info) {
  const std::shared_ptr<const Listing> listing = tree_.listing(info->fh);
  if (!listing) return void(fuse_reply_err(req, EBADF));
  DirectoryReply reply(req, size, plus);
  for (auto position = static_cast<uint64_t>(offset); position < listing->size(); ++position) {
    const Listing::Entry entry = listing->entry(position);
    if (!reply.add(entry.name.c_str(), entry.attr, static_cast<off_t>(position + 1))) break;
  }
  reply.send();
}

void VirtualReplies::releasedir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  release(req, ino, info);
}

void VirtualReplies::mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t /*mode*/) {
  const fuse_ctx* const caller = fuse_req_ctx(req);
  answer<fuse_entry_param>(tree_, req, tree_.mkdir(parent, name, {caller->uid, caller->gid}),
                           entry_sender(tree_));
}

void VirtualReplies::unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  reply_status(req, tree_.unlink(parent, name));
}

void VirtualReplies::rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  answer(tree_, req, tree_.rmdir(parent, name), [](fuse_req_t to) { fuse_reply_err(to, 0); });
}

void VirtualReplies::getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) {
  answer(tree_, req, tree_.getxattr(ino, name),
         [size](fuse_req_t to, const std::string& value) { reply_xattr(to, value, size); });
}

void VirtualReplies::listxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) {
  answer<std::string>(
      tree_, req, tree_.listxattr(ino),
      [size](fuse_req_t to, const std::string& names) { reply_xattr(to, names, size); });
}

}  // namespace shufflefs::fs
