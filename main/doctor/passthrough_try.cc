#include "main/doctor/passthrough_try.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>

#include "base/fd.h"
#include "fs/mount.h"

namespace shufflefs::doctor {
namespace {

// From <linux/fuse.h> of kernel 6.9; Debian 12's headers are older.
struct InitOut {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint16_t max_background;
  uint16_t congestion_threshold;
  uint32_t max_write;
  uint32_t time_gran;
  uint16_t max_pages;
  uint16_t map_alignment;
  uint32_t flags2;
  uint32_t max_stack_depth;
  std::array<uint32_t, 6> unused;
};
static_assert(sizeof(InitOut) == 64);
struct ReplyHeader {
  uint32_t length;
  int32_t error;
  uint64_t unique;
};
struct BackingMap {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr uint32_t kHasSecondFlags = 1U << 30U;
constexpr uint32_t kPassthrough = 1U << (37U - 32U);  // in the second flags

// A file on the disk of the directory, without a name.
Result<Fd> nameless_file(const std::string& directory) {
  Fd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file) return file;
  std::string pattern = directory + "/.shufflefs-doctor-XXXXXX";
  file = Fd(::mkostemp(pattern.data(), O_CLOEXEC));
  if (!file) return errno_error("cannot make a file in " + directory);
  ::unlink(pattern.c_str());
  return file;
}

Status answer_init(int connection) {
  TRY_ASSIGN(const std::vector<std::byte> init, fs::read_init(connection, std::chrono::seconds(5)));
  fs::RequestHeader request{};
  std::memcpy(&request, init.data(), sizeof request);
  struct {
    ReplyHeader header;
    InitOut body;
  } reply{};
  uint32_t offered_flags = 0;
  uint32_t offered_flags2 = 0;
  const std::byte* const body = init.data() + sizeof request;
  std::memcpy(&reply.body.minor, body + 4, sizeof reply.body.minor);
  std::memcpy(&offered_flags, body + 12, sizeof offered_flags);
  if (init.size() >= sizeof request + 20)
    std::memcpy(&offered_flags2, body + 16, sizeof offered_flags2);
  if ((offered_flags & kHasSecondFlags) == 0 || (offered_flags2 & kPassthrough) == 0) {
    return make_error(Code::kMount,
                      "the kernel does not offer it (6.9 or later, CONFIG_FUSE_PASSTHROUGH)");
  }
  reply.header = {sizeof reply, 0, request.unique};
  reply.body.major = 7;
  reply.body.max_readahead = 128 * 1024;
  reply.body.max_write = 128 * 1024;
  reply.body.flags = kHasSecondFlags;
  reply.body.flags2 = kPassthrough;
  reply.body.max_stack_depth = 1;
  if (::write(connection, &reply, sizeof reply) != sizeof reply)
    return errno_error("cannot answer the kernel");
  return ok();
}

}  // namespace

Status try_passthrough(const std::string& directory) {
  TRY_ASSIGN(const Fd file, nameless_file(directory));
  const Fd connection(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!connection) return errno_error("/dev/fuse cannot be opened");
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return errno_error("cannot make a mount namespace to try it in");
  const std::string options =
      fmt::format("fd={},rootmode=40000,user_id=0,group_id=0", connection.get());
  // Over any directory: only this process sees it.
  if (::mount("shufflefs", "/mnt", "fuse.shufflefs", 0, options.c_str()) != 0)
    return errno_error("a mount for trying was refused");
  TRY(answer_init(connection.get()));
  BackingMap map{file.get(), 0, 0};
  if (::ioctl(connection.get(), kBackingOpen, &map) > 0) return ok();
  return errno_error("the kernel refuses it");
}

}  // namespace shufflefs::doctor
