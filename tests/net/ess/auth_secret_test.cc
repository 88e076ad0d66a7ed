// --spark-secret-file: what is read, and what is refused with which remedy.
#include <fmt/format.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "net/ess/auth/server_auth.h"

namespace shufflefs::net::ess {
namespace {

using Catch::Matchers::ContainsSubstring;

class SecretFile {
 public:
  SecretFile(std::string_view content, mode_t mode) {
    std::string pattern = (std::filesystem::temp_directory_path() / "secret-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    std::ofstream(path()) << content;
    REQUIRE(::chmod(path().c_str(), mode) == 0);
  }
  SecretFile(const SecretFile&) = delete;
  SecretFile& operator=(const SecretFile&) = delete;
  ~SecretFile() { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::filesystem::path path() const { return directory_ / "secret"; }

 private:
  std::filesystem::path directory_;
};

TEST_CASE("a secret file is read without its trailing newline", "[auth]") {
  for (const char* content : {"s3cret", "s3cret\n", "s3cret\r\n"}) {
    const SecretFile file(content, 0600);
    const auto secret = read_secret_file(file.path());
    REQUIRE(secret);
    CHECK((*secret)->text() == "s3cret");
  }
  CHECK(read_secret_file(SecretFile(" a b ", 0400).path()));
}

TEST_CASE("a secret file that others may use, or that has no secret, is refused", "[auth]") {
  const auto message = [](std::string_view content, mode_t mode) {
    const SecretFile file(content, mode);
    const auto secret = read_secret_file(file.path());
    return secret ? std::string("taken") : secret.error().message;
  };
  CHECK_THAT(message("s", 0644), ContainsSubstring("0644") && ContainsSubstring("chmod"));
  CHECK_THAT(message("s", 0640), ContainsSubstring("chmod"));
  CHECK_THAT(message("", 0600), ContainsSubstring("empty"));
  CHECK_THAT(message("\n", 0600), ContainsSubstring("empty"));
  CHECK_THAT(message(std::string(5000, 'x'), 0600), ContainsSubstring("4096"));
  CHECK(read_secret_file("/nonexistent/secret").error().code == Code::kNotFound);
  CHECK_THAT(read_secret_file("/dev/null").error().message,
             ContainsSubstring("not a regular file"));
}

}  // namespace
}  // namespace shufflefs::net::ess
