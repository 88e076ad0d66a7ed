// From the settings to who may ask the administration server what (net/http_guard.h). Reads the
// token file: at start, or once for a command at the shell.
#pragma once

#include "main/settings.h"
#include "net/http_guard.h"

namespace shufflefs {

// kConfig if the token file cannot be used.
[[nodiscard]] Result<net::HttpAccess> http_access(const Settings& settings);

// A file that only its owner may read, with the token as its text. kConfig with the file and the
// remedy.
[[nodiscard]] Result<std::string> read_token_file(const std::string& file);

// Whether a server at this address can only be reached from the same machine.
[[nodiscard]] bool is_loopback(const std::string& host);

}  // namespace shufflefs
