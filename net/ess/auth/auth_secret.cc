#include "net/ess/auth/auth_secret.h"

namespace shufflefs::net::ess {

Result<std::shared_ptr<const AuthSecret>> read_secret_file(const std::filesystem::path& file) {
  TRY_ASSIGN(SecretText text,
             read_secret_text(file,
                              {.what = "the secret file", .if_empty = "put the secret into it"}));
  return std::make_shared<const AuthSecret>(std::move(text));
}

}  // namespace shufflefs::net::ess
