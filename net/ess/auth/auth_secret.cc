#include "net/ess/auth/auth_secret.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "base/fd.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::size_t kMaxSecretBytes = 4096;

Error secret_error(const std::filesystem::path& file, std::string_view what) {
  return make_error(Code::kConfig, fmt::format("the secret file {}: {}", file.string(), what));
}

Status check_file(const std::filesystem::path& file, int fd) {
  struct stat info = {};
  if (fstat(fd, &info) != 0) return errno_error(fmt::format("the secret file {}", file.string()));
  if (!S_ISREG(info.st_mode)) return secret_error(file, "is not a regular file");
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return secret_error(
        file, fmt::format("its mode is {:04o}, so that others than its owner may use it; chmod it "
                          "to 0600 or 0400",
                          info.st_mode & 07777U));
  }
  return ok();
}

}  // namespace

AuthSecret::~AuthSecret() { OPENSSL_cleanse(secret_.data(), secret_.size()); }

Result<std::shared_ptr<const AuthSecret>> read_secret_file(const std::filesystem::path& file) {
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno_error(fmt::format("the secret file {}", file.string()));
  TRY(check_file(file, fd.get()));
  std::array<char, kMaxSecretBytes + 1> buffer = {};
  std::size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t count = ::read(fd.get(), buffer.data() + size, buffer.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error(fmt::format("the secret file {}", file.string()));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  std::string_view text(buffer.data(), size);
  const bool too_long = size > kMaxSecretBytes;
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  Result<std::shared_ptr<const AuthSecret>> secret =
      too_long ? secret_error(file, "is longer than 4096 bytes")
      : text.empty()
          ? secret_error(file, "is empty; put the secret into it")
          : Result<std::shared_ptr<const AuthSecret>>(std::make_shared<const AuthSecret>(text));
  OPENSSL_cleanse(buffer.data(), buffer.size());
  return secret;
}

}  // namespace shufflefs::net::ess
