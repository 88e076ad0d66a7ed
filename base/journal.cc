#include "base/journal.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <bit>
#include <cctype>
#include <cstring>

#include "base/escape.h"
#include "base/fd.h"

namespace shufflefs {
namespace {

int priority_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return 7;
    case LogLevel::kInfo: return 6;
    case LogLevel::kWarning: return 4;
    case LogLevel::kError: return 3;
  }
  return 6;
}

// A value with a newline is written with its length in front.
void append(std::string& entry, std::string_view name, std::string_view value) {
  entry += name;
  if (value.find('\n') == std::string_view::npos) {
    entry += '=';
  } else {
    static_assert(std::endian::native == std::endian::little);
    const uint64_t length = value.size();
    std::string bytes(sizeof length, '\0');
    std::memcpy(bytes.data(), &length, sizeof length);
    entry += '\n' + bytes;
  }
  entry += value;
  entry += '\n';
}

// A field name is A-Z, 0-9 and _.
std::string field_name(std::string_view key) {
  std::string name = "SHUFFLEFS_";
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    name += std::isalnum(byte) != 0 ? static_cast<char>(std::toupper(byte)) : '_';
  }
  return name;
}

int socket_to_journal() {
  static const Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return fd.get();
}

}  // namespace

bool journal_send(const std::string& socket_path, LogLevel level, std::string_view code,
                  std::string_view message, LogFields fields) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) return false;
  socket_path.copy(address.sun_path, socket_path.size());
  std::string entry;
  append(entry, "MESSAGE", message);
  append(entry, "PRIORITY", std::to_string(priority_of(level)));
  append(entry, "SYSLOG_IDENTIFIER", "shufflefs");
  append(entry, "SHUFFLEFS_EVENT", code);
  for (const LogField& field : fields)
    append(entry, field_name(field.key), printable_lines(field.value));
  const ssize_t sent =
      ::sendto(socket_to_journal(), entry.data(), entry.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), sizeof address);  // NOLINT
  return sent == static_cast<ssize_t>(entry.size());
}

}  // namespace shufflefs
