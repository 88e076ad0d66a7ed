#include "net/secret_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "base/fd.h"

namespace shufflefs::net {
namespace {

constexpr std::size_t kSecureHeapBytes = 256U << 10U;  // a power of two; some TLS keys and secrets
constexpr std::size_t kSecureHeapLeast = 32;

void make_secure_heap() {
  static std::once_flag once;
  // Should it fail, OPENSSL_secure_malloc is an ordinary malloc.
  std::call_once(once, [] { CRYPTO_secure_malloc_init(kSecureHeapBytes, kSecureHeapLeast); });
}

Error refusal(const std::filesystem::path& file, const SecretFileRules& rules,
              std::string_view why) {
  return make_error(Code::kConfig, fmt::format("{} {}: {}", rules.what, file.string(), why));
}

Status check_file(const std::filesystem::path& file, int fd, const SecretFileRules& rules) {
  struct stat info = {};
  if (fstat(fd, &info) != 0) return errno_error(fmt::format("{} {}", rules.what, file.string()));
  if (!S_ISREG(info.st_mode)) return refusal(file, rules, "is not a regular file");
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return refusal(file, rules,
                   fmt::format("its mode is {:04o}, so that others than its owner may use it; "
                               "chmod it to 0600 or 0400",
                               info.st_mode & 07777U));
  }
  return ok();
}

}  // namespace

SecretText::SecretText(std::string_view text) : size_(text.size()) {
  make_secure_heap();
  data_ = static_cast<char*>(OPENSSL_secure_malloc(std::max<std::size_t>(size_, 1)));
  if (data_ == nullptr) {  // the secure heap is full
    data_ = static_cast<char*>(OPENSSL_malloc(std::max<std::size_t>(size_, 1)));
    if (data_ == nullptr) throw std::bad_alloc();
  }
  std::ranges::copy(text, data_);
}

SecretText::~SecretText() {
  if (data_ == nullptr) return;
  // secure_clear_free finds out by itself which heap it is of.
  OPENSSL_secure_clear_free(data_, std::max<std::size_t>(size_, 1));
}

Result<SecretText> read_secret_text(const std::filesystem::path& file, SecretFileRules rules) {
  const auto name = [&] { return fmt::format("{} {}", rules.what, file.string()); };
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno_error(name());
  TRY(check_file(file, fd.get(), rules));
  std::vector<char> buffer(rules.most_bytes + 1);
  struct Wipe {
    std::vector<char>& bytes;
    explicit Wipe(std::vector<char>& of) : bytes(of) {}
    ~Wipe() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
    Wipe(const Wipe&) = delete;
    Wipe& operator=(const Wipe&) = delete;
  } const wipe(buffer);
  std::size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t count = ::read(fd.get(), buffer.data() + size, buffer.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error(name());
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  if (size > rules.most_bytes)
    return refusal(file, rules, fmt::format("is longer than {} bytes", rules.most_bytes));
  std::string_view text(buffer.data(), size);
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  if (text.empty()) return refusal(file, rules, fmt::format("is empty; {}", rules.if_empty));
  return SecretText(text);
}

}  // namespace shufflefs::net
