// The redirection of this machine's connections to a port: a table of nftables with a NAT chain on
// the output hook, so that only connections of local processes in this network namespace are met.
// Left alone are connections to this machine's own addresses, and those that carry kOwnMark.
//
// Nothing is left behind by a daemon that is killed or hangs: the table belongs to our netlink
// socket, with which the kernel removes it; and the port is an element of a set that expires
// unless refresh() is called every few seconds. Connections then go where they were meant to go.
//
// Threads: one at a time; each call is a system call or two, and waits for whoever else changes
// nftables: not on the reactor. Failure: kConfig with the remedy (CAP_NET_ADMIN, nf_tables, a
// kernel from 5.12 on). IPv4 only.
#pragma once

#include <netinet/in.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace shufflefs::net::relay {

// SO_MARK of connections that are not to be redirected.
inline constexpr uint32_t kOwnMark = 0x73;
inline constexpr std::chrono::seconds kRedirectExpires{6};
inline constexpr std::chrono::milliseconds kRefreshInterval{1500};

class Redirect {
 public:
  struct Options {
    uint16_t service_port = 0;  // connections to it
    // Whose connections stay as they are: this address, or without it all of this machine.
    std::optional<in_addr> own_address;
    uint16_t relay_port = 0;  // of 127.0.0.1: where they go instead
  };
  // The table is there when it returns; it redirects nothing before the first refresh().
  [[nodiscard]] static Result<Redirect> make(const Options& options);
  [[nodiscard]] Status refresh();
  // Removes the table, as the destructor does.
  void remove() { socket_.reset(); }

  [[nodiscard]] const std::string& table() const { return table_; }

 private:
  Redirect(Fd socket, std::string table, uint16_t port)
      : socket_(std::move(socket)), table_(std::move(table)), service_port_(port) {}

  Fd socket_;
  std::string table_;
  uint16_t service_port_;
};

}  // namespace shufflefs::net::relay
