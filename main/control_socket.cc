#include "main/control_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <cstring>

#include "base/escape.h"
#include "fs/saved_state.h"
#include "main/version.h"
#include "main/worker_channel.h"

namespace shufflefs {
namespace {

namespace json = boost::json;

constexpr auto kAskPatience = std::chrono::seconds(2);

std::string socket_path(const Settings& settings) { return settings.data.front() + "/takeover"; }

// Through /proc, as a socket's path has at most 107 characters and a data directory may have more.
struct Address {
  Fd directory;
  sockaddr_un value{};

  explicit Address(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    directory = Fd(::open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    value.sun_family = AF_UNIX;
    const std::string name =
        fmt::format("/proc/self/fd/{}/{}", directory.get(), path.substr(slash + 1));
    std::strncpy(value.sun_path, name.c_str(), sizeof value.sun_path - 1);
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&value); }
};

Result<Fd> connect_to(const Settings& settings) {
  const std::string path = socket_path(settings);
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("cannot make a socket");
  const Address address(path);
  if (::connect(fd.get(), address.get(), sizeof address.value) == 0) return fd;
  if (errno == ENOENT || errno == ECONNREFUSED) {
    return make_error(Code::kMount, "no node runs with the data directory " +
                                        settings.data.front() + ": start it without --takeover");
  }
  return errno_error("cannot reach the running node at " + path);
}

}  // namespace

std::string takeover_request(const Settings& settings) {
  json::array data;
  for (const std::string& directory : settings.data) data.emplace_back(directory);
  return json_text(
      json::object{{"version", kVersion},
                   {"state", fs::kSavedVersion},
                   {"fixed", json::object{{"mount", settings.mount},
                                          {"data", std::move(data)},
                                          {"keep-mount", settings.keep_mount},
                                          {"local-mode", to_string(settings.local_mode)},
                                          {"xattrs", settings.xattrs}}}});
}

std::string fixed_differences(const std::string& running, const std::string& wanted) {
  boost::system::error_code failed;
  const json::value ours = json::parse(running, failed);
  const json::value theirs = json::parse(wanted, failed);
  if (failed || !theirs.is_object()) return "the request itself";
  const json::object* const fixed =
      theirs.as_object().if_contains("fixed") != nullptr ? theirs.at("fixed").if_object() : nullptr;
  if (fixed == nullptr) return "the request itself";
  std::string names;
  for (const auto& [name, value] : ours.at("fixed").as_object()) {
    const json::value* const other = fixed->if_contains(name);
    if (other != nullptr && *other == value) continue;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", std::string_view(name));
  }
  const json::value* const state = theirs.as_object().if_contains("state");
  if (state == nullptr || *state != ours.at("state"))
    names +=
        names.empty() ? "the version of the mount's state" : ", the version of the mount's state";
  return names;
}

Result<ControlSocket> ControlSocket::listen(const Settings& settings) {
  const std::string path = socket_path(settings);
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("cannot make a socket");
  ::unlink(path.c_str());  // a dead supervisor's; a live one holds the lock
  const Address address(path);
  const mode_t before = ::umask(0177);
  const int bound = ::bind(fd.get(), address.get(), sizeof address.value);
  const int error = errno;
  ::umask(before);
  if (bound != 0) return errno_error("cannot listen at " + path, error);
  if (::listen(fd.get(), 4) != 0) return errno_error("cannot listen at " + path);
  return ControlSocket(path, std::move(fd));
}

ControlSocket::ControlSocket(ControlSocket&& other) noexcept
    : path_(std::exchange(other.path_, "")), listening_(std::move(other.listening_)) {}

ControlSocket::~ControlSocket() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

Result<ControlSocket::Asked> ControlSocket::accept(const Settings& running) const {
  Asked asked;
  asked.channel = Fd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!asked.channel) return errno_error("cannot accept a connection");
  TRY_ASSIGN(const auto message, receive(asked.channel.get(), kAskPatience));
  if (!message || message->type != Message::kTakeOver)
    return make_error(Code::kProtocol, "this is no request for a takeover");
  if (!running.keep_mount) {
    asked.refused = "this node runs with keep-mount off: stop it and start it again";
  } else if (const std::string names = fixed_differences(takeover_request(running), message->text);
             !names.empty()) {
    asked.refused = fmt::format(
        "what cannot change on a live mount differs: {}. Stop the node and start it again, or give "
        "it the values that it runs with",
        names);
  }
  if (!asked.refused.empty())
    TRY(send(asked.channel.get(), {.type = Message::kRefused, .text = asked.refused}));
  return asked;
}

bool can_take_over(const Settings& settings) { return connect_to(settings).has_value(); }

Result<Fd> ask_for_takeover(const Settings& settings) {
  TRY_ASSIGN(Fd fd, connect_to(settings));
  TRY(send(fd.get(), {.type = Message::kTakeOver, .text = takeover_request(settings)}));
  return fd;
}

}  // namespace shufflefs
