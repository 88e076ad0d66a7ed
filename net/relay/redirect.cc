#include "net/relay/redirect.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace shufflefs::net::relay {
namespace {

constexpr std::string_view kChain = "output";
constexpr std::string_view kSet = "services";
constexpr uint32_t kInetServiceType = 13;  // what nft(8) shows the set's key as
constexpr int kBeforeOtherNat = -101;      // NF_IP_PRI_NAT_DST is -100
constexpr timeval kKernelTimeout{5, 0};

// nf_tables messages, sent as one batch: all of it is done, or nothing. Numbers are big-endian.
class Batch {
 public:
  Batch() { control(NFNL_MSG_BATCH_BEGIN); }

  Batch& message(int type, int flags) {
    end_message();
    begin((NFNL_SUBSYS_NFTABLES << 8) | type, flags | NLM_F_ACK, NFPROTO_IPV4, 0);
    ++answers_;
    return *this;
  }
  Batch& text(int type, std::string_view value) {
    std::vector<std::byte> bytes(value.size() + 1);
    std::memcpy(bytes.data(), value.data(), value.size());
    return raw(type, bytes);
  }
  Batch& number(int type, uint32_t value) { return in_order(type, htonl(value)); }
  Batch& long_number(int type, uint64_t value) { return in_order(type, htobe64(value)); }
  // A value whose bytes are in order already.
  template <class T>
  Batch& in_order(int type, T value) {
    return raw(type, std::as_bytes(std::span(&value, 1)));
  }
  template <class Inside>
  Batch& nested(int type, Inside inside) {
    const std::size_t at = bytes_.size();
    raw(type | NLA_F_NESTED, {});
    inside();
    const auto size = static_cast<uint16_t>(bytes_.size() - at);
    std::memcpy(&bytes_[at], &size, sizeof size);
    return *this;
  }
  template <class Inside>
  Batch& expression(std::string_view name, Inside inside) {
    return nested(NFTA_LIST_ELEM, [&] {
      text(NFTA_EXPR_NAME, name);
      nested(NFTA_EXPR_DATA, inside);
    });
  }

  // Sends it, and waits for the kernel's answers; 0 or the first errno.
  [[nodiscard]] int send(int socket) {
    end_message();
    control(NFNL_MSG_BATCH_END);
    end_message();
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    const ssize_t sent = ::sendto(socket, bytes_.data(), bytes_.size(), 0,
                                  reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
    if (sent != static_cast<ssize_t>(bytes_.size())) return sent < 0 ? errno : EIO;
    int failed = 0;
    while (answers_ > 0) {
      alignas(nlmsghdr) std::array<char, 8192> answer{};
      const ssize_t got = ::recv(socket, answer.data(), answer.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return got < 0 ? errno : EIO;
      auto left = static_cast<unsigned>(got);
      for (auto* header = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(header, left);
           header = NLMSG_NEXT(header, left)) {
        if (header->nlmsg_type != NLMSG_ERROR) continue;
        const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(header));
        if (failed == 0) failed = -error->error;
        // What is wrong with the batch itself is all that is answered.
        if (error->msg.nlmsg_type == NFNL_MSG_BATCH_BEGIN) return failed;
        --answers_;
      }
    }
    return failed;
  }

 private:
  void control(int type) { begin(type, 0, AF_UNSPEC, htons(NFNL_SUBSYS_NFTABLES)); }
  void begin(int type, int flags, uint8_t family, uint16_t resource) {
    message_at_ = bytes_.size();
    nlmsghdr header{};
    header.nlmsg_type = static_cast<uint16_t>(type);
    header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    header.nlmsg_seq = ++sequence_;
    const nfgenmsg general{family, NFNETLINK_V0, resource};
    add(&header, sizeof header);
    add(&general, sizeof general);
  }
  void end_message() {
    const auto size = static_cast<uint32_t>(bytes_.size() - message_at_);
    std::memcpy(&bytes_[message_at_], &size, sizeof size);
  }
  Batch& raw(int type, std::span<const std::byte> value) {
    nlattr attribute{};
    attribute.nla_len = static_cast<uint16_t>(NLA_HDRLEN + value.size());
    attribute.nla_type = static_cast<uint16_t>(type);
    add(&attribute, sizeof attribute);
    add(value.data(), value.size());
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
    return *this;
  }
  void add(const void* bytes, std::size_t size) {
    const auto* first = static_cast<const std::byte*>(bytes);
    bytes_.insert(bytes_.end(), first, first + size);
  }

  std::vector<std::byte> bytes_;
  std::size_t message_at_ = 0;
  uint32_t sequence_ = 0;
  int answers_ = 0;
};

// The register that every comparison below uses.
constexpr uint32_t kRegister = NFT_REG_1;

template <class T>
void compare(Batch& batch, T value) {
  batch.expression("cmp", [&] {
    batch.number(NFTA_CMP_SREG, kRegister).number(NFTA_CMP_OP, NFT_CMP_EQ);
    batch.nested(NFTA_CMP_DATA, [&] { batch.in_order(NFTA_DATA_VALUE, value); });
  });
}

void load_meta(Batch& batch, uint32_t key) {
  batch.expression("meta",
                   [&] { batch.number(NFTA_META_KEY, key).number(NFTA_META_DREG, kRegister); });
}

void load_payload(Batch& batch, uint32_t base, uint32_t offset, uint32_t length) {
  batch.expression("payload", [&] {
    batch.number(NFTA_PAYLOAD_DREG, kRegister).number(NFTA_PAYLOAD_BASE, base);
    batch.number(NFTA_PAYLOAD_OFFSET, offset).number(NFTA_PAYLOAD_LEN, length);
  });
}

void leave_alone(Batch& batch) {
  batch.expression("immediate", [&] {
    batch.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    batch.nested(NFTA_IMMEDIATE_DATA, [&] {
      batch.nested(NFTA_DATA_VERDICT,
                   [&] { batch.number(NFTA_VERDICT_CODE, static_cast<uint32_t>(NFT_RETURN)); });
    });
  });
}

template <class T>
void load_constant(Batch& batch, uint32_t to, T value) {
  batch.expression("immediate", [&] {
    batch.number(NFTA_IMMEDIATE_DREG, to);
    batch.nested(NFTA_IMMEDIATE_DATA, [&] { batch.in_order(NFTA_DATA_VALUE, value); });
  });
}

template <class Expressions>
void add_rule(Batch& batch, const std::string& table, Expressions expressions) {
  batch.message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND).text(NFTA_RULE_TABLE, table);
  batch.text(NFTA_RULE_CHAIN, kChain).nested(NFTA_RULE_EXPRESSIONS, expressions);
}

void add_table(Batch& batch, const std::string& table) {
  batch.message(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL).text(NFTA_TABLE_NAME, table);
  batch.number(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
  batch.message(NFT_MSG_NEWSET, NLM_F_CREATE).text(NFTA_SET_TABLE, table);
  batch.text(NFTA_SET_NAME, kSet).number(NFTA_SET_FLAGS, NFT_SET_TIMEOUT);
  batch.number(NFTA_SET_KEY_TYPE, kInetServiceType).number(NFTA_SET_KEY_LEN, sizeof(in_port_t));
  batch.number(NFTA_SET_ID, 1);
  batch.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE).text(NFTA_CHAIN_TABLE, table);
  batch.text(NFTA_CHAIN_NAME, kChain).text(NFTA_CHAIN_TYPE, "nat");
  batch.nested(NFTA_CHAIN_HOOK, [&] {
    batch.number(NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
    batch.number(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(kBeforeOtherNat));
  });
}

void add_rules(Batch& batch, const std::string& table, const Redirect::Options& options) {
  // meta mark kOwnMark return
  add_rule(batch, table, [&] {
    load_meta(batch, NFT_META_MARK);
    compare(batch, kOwnMark);
    leave_alone(batch);
  });
  // ip daddr OWN return, or: fib daddr type local return
  add_rule(batch, table, [&] {
    constexpr uint32_t kAddressAt = 16;
    if (options.own_address) {
      load_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, kAddressAt, sizeof(in_addr));
      compare(batch, options.own_address->s_addr);
    } else {
      batch.expression("fib", [&] {
        batch.number(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR)
            .number(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
        batch.number(NFTA_FIB_DREG, kRegister);
      });
      compare(batch, uint32_t{RTN_LOCAL});
    }
    leave_alone(batch);
  });
  // tcp dport @services dnat to 127.0.0.1:RELAY
  add_rule(batch, table, [&] {
    constexpr uint32_t kPortAt = 2;
    load_meta(batch, NFT_META_L4PROTO);
    compare(batch, uint8_t{IPPROTO_TCP});
    load_payload(batch, NFT_PAYLOAD_TRANSPORT_HEADER, kPortAt, sizeof(in_port_t));
    batch.expression("lookup", [&] {
      batch.text(NFTA_LOOKUP_SET, kSet).number(NFTA_LOOKUP_SREG, kRegister);
      batch.number(NFTA_LOOKUP_SET_ID, 1);
    });
    load_constant(batch, NFT_REG_1, htonl(INADDR_LOOPBACK));
    load_constant(batch, NFT_REG_2, htons(options.relay_port));
    batch.expression("nat", [&] {
      batch.number(NFTA_NAT_TYPE, NFT_NAT_DNAT).number(NFTA_NAT_FAMILY, NFPROTO_IPV4);
      batch.number(NFTA_NAT_REG_ADDR_MIN, NFT_REG_1).number(NFTA_NAT_REG_PROTO_MIN, NFT_REG_2);
      batch.number(NFTA_NAT_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
    });
  });
}

Error failed(const std::string& table, int error) {
  Error why = errno_error(fmt::format("nftables: table ip {}", table), error);
  why.code = Code::kConfig;
  why.message += error == EPERM
                     ? ": give the daemon CAP_NET_ADMIN, or switch spark-relay off"
                     : ": it needs nf_tables with NAT in a kernel from 5.12 on; or switch "
                       "spark-relay off";
  return why;
}

}  // namespace

Result<Redirect> Redirect::make(const Options& options) {
  const std::string table = fmt::format("shufflefs_relay_{}", options.relay_port);
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  sockaddr_nl any{};
  any.nl_family = AF_NETLINK;
  if (!socket || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kKernelTimeout, sizeof kKernelTimeout) !=
          0)
    return failed(table, errno);
  Batch batch;
  add_table(batch, table);
  add_rules(batch, table, options);
  if (const int error = batch.send(socket.get()); error != 0) return failed(table, error);
  return Redirect(std::move(socket), table, options.service_port);
}

Status Redirect::refresh() {
  Batch batch;
  // Emptied first: to add what is there does not prolong it. Both happen at once.
  batch.message(NFT_MSG_DELSETELEM, 0).text(NFTA_SET_ELEM_LIST_TABLE, table_);
  batch.text(NFTA_SET_ELEM_LIST_SET, kSet);
  batch.message(NFT_MSG_NEWSETELEM, NLM_F_CREATE).text(NFTA_SET_ELEM_LIST_TABLE, table_);
  batch.text(NFTA_SET_ELEM_LIST_SET, kSet).nested(NFTA_SET_ELEM_LIST_ELEMENTS, [&] {
    batch.nested(NFTA_LIST_ELEM, [&] {
      batch.long_number(NFTA_SET_ELEM_TIMEOUT, std::chrono::milliseconds(kRedirectExpires).count());
      batch.nested(NFTA_SET_ELEM_KEY,
                   [&] { batch.in_order(NFTA_DATA_VALUE, htons(service_port_)); });
    });
  });
  if (const int error = batch.send(socket_.get()); error != 0) return failed(table_, error);
  return ok();
}

}  // namespace shufflefs::net::relay
