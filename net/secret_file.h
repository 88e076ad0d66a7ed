// Secrets in files: what may be read, and where it is kept. Both Spark's secret
// (--spark-secret-file) and the nodes' own (--secret-file, --tls-key) come in through here.
//
// A SecretText lies in OpenSSL's secure heap: locked in memory, left out of core files
// (MADV_DONTDUMP), between guard pages, wiped at the end. Where that heap is full it lies in
// ordinary memory, wiped all the same.
//
// Threads: a SecretText is constant and may be shared. Failure: kConfig with the file and the
// remedy, kNotFound where there is no file. Cost: reading blocks on the disk.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace shufflefs::net {

class SecretText {
 public:
  explicit SecretText(std::string_view text);
  SecretText(SecretText&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  SecretText& operator=(SecretText&&) = delete;
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  ~SecretText();

  [[nodiscard]] std::string_view text() const { return {data_, size_}; }

 private:
  char* data_ = nullptr;
  std::size_t size_ = 0;
};

struct SecretFileRules {
  std::string_view what;            // "the secret file": begins the messages
  std::string_view if_empty;        // what to put into an empty one
  std::size_t most_bytes = 4096;
};

// A regular file that neither group nor others may use, of at most most_bytes; newlines at its end
// do not count.
[[nodiscard]] Result<SecretText> read_secret_text(const std::filesystem::path& file,
                                                  SecretFileRules rules);

}  // namespace shufflefs::net
