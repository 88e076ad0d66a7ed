// Loaded into a server by LD_PRELOAD: whoever binds to every address is bound to that of
// $BIND_HERE. So servers that cannot be told an address (Spark's own shuffle service) stand side by
// side on one port of several loopback addresses.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdlib>
#include <cstring>

// The system's header has reserved names for the parameters.
// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
extern "C" __attribute__((visibility("default"))) int bind(int fd, const sockaddr* address,
                                                           socklen_t length) noexcept {
  static const auto real = reinterpret_cast<decltype(&bind)>(dlsym(RTLD_NEXT, "bind"));
  const char* here = std::getenv("BIND_HERE");
  sockaddr_in changed{};
  if (here != nullptr && address->sa_family == AF_INET && length >= sizeof(changed)) {
    std::memcpy(&changed, address, sizeof(changed));
    if (changed.sin_addr.s_addr == htonl(INADDR_ANY) &&
        inet_pton(AF_INET, here, &changed.sin_addr) == 1) {
      address = reinterpret_cast<const sockaddr*>(&changed);
    }
  }
  return real(fd, address, length);
}
