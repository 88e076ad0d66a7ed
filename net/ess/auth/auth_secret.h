// The cluster's secret, the same as spark.authenticate.secret of the applications. One for all: a
// standalone cluster has one; on YARN every application has its own, which only YARN's own service
// learns.
//
// Threads: constant after construction, shared by all connections. Failure: kConfig with the file
// and the remedy. Cost: one small allocation in memory that no core file holds.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "net/secret_file.h"

namespace shufflefs::net::ess {

class AuthSecret {
 public:
  explicit AuthSecret(std::string_view secret) : secret_(secret) {}
  explicit AuthSecret(SecretText secret) : secret_(std::move(secret)) {}

  [[nodiscard]] std::string_view text() const { return secret_.text(); }

 private:
  SecretText secret_;
};

// Reads --spark-secret-file: a regular file that neither group nor others may read, of at most
// 4096 bytes of UTF-8 text, of which trailing newlines do not count. Blocks on the disk: at start
// only.
[[nodiscard]] Result<std::shared_ptr<const AuthSecret>> read_secret_file(
    const std::filesystem::path& file);

}  // namespace shufflefs::net::ess
