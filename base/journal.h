// One entry for systemd's journal by its native protocol: a datagram of FIELD=value lines
// (systemd.io/JOURNAL_NATIVE_PROTOCOL). So `journalctl SHUFFLEFS_EVENT=push.gave_up -p warning`
// finds entries by their fields, which text on stderr would lose. 60 lines of ours instead of
// libsystemd, which would be one more library in every image.
//
// Threads: any; one system call, which never blocks. Failure: false, and nothing was sent (no
// journal, or more than the socket takes): the caller writes the line elsewhere.
#pragma once

#include <string>
#include <string_view>

#include "base/log.h"

namespace shufflefs {

inline constexpr const char* kJournalSocket = "/run/systemd/journal/socket";

// MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, SHUFFLEFS_EVENT, and SHUFFLEFS_<KEY> for each field.
[[nodiscard]] bool journal_send(const std::string& socket_path, LogLevel level,
                                std::string_view code, std::string_view message, LogFields fields);

}  // namespace shufflefs
