// The messages between nodes: their types, limits and structs. Each method of merge::NodeApi is one
// request type; its response is the next number. The fields are declared in net/message_fields.h,
// and listed in docs/messages.md.
//
// A new request: a number, a row in kRequestTypes and in Messages, its struct and fields, its
// handler in net/dispatch.cc, its method in net/node_proxy.cc.
//
// Pure values and functions, any thread. Who sends checks kMaxHeaderBytes.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "merge/node_api.h"
#include "net/member_table.h"
#include "net/wire.h"

namespace shufflefs::net {

inline constexpr uint32_t kProtocolVersion = 4;

// Numbers are on the wire. Requests are even, the response to a request is the next odd number.
enum class MessageType : uint16_t {
  kError = 1,  // the response to any request that failed
  kHello = 2,
  kPing = 4,
  kProve = 6,    // the end of the handshake, before any other request
  kMembers = 8,  // two nodes whose lists of members differ
  kPush = 16,
  kAnnounce = 18,
  kPartitionInfo = 20,
  kShuffleInfo = 22,
  kListShuffles = 24,
  kReadMerged = 28,
  kReadBlock = 30,
  // 26, 32 and 34 were messages once and stay unused.
  kDrop = 36,
  kMergedInfo = 38,
  kReport = 64,
};

inline constexpr uint32_t kMaxHeaderBytes = 16U << 20U;       // of any frame
inline constexpr uint32_t kMaxSmallRequestBytes = 4U << 10U;  // of a request of ids and numbers
inline constexpr uint32_t kMaxSmallResponseBytes = 64;        // of a response of a few numbers
inline constexpr uint32_t kMaxErrorBytes = 8U << 10U;         // of an Error frame
inline constexpr std::size_t kMaxTextBytes = 4096;            // of a reason or an error message

struct RequestType {
  MessageType type{};
  std::string_view name;
  uint32_t max_request_bytes = kMaxSmallRequestBytes;    // of header
  uint32_t max_response_bytes = kMaxSmallResponseBytes;  // likewise
  bool has_payload = false;                              // it, or its response
};

// Everything that may come after the handshake.
inline constexpr std::array kRequestTypes = {
    RequestType{MessageType::kPing, "ping"},
    RequestType{MessageType::kPush, "push", kMaxHeaderBytes, kMaxSmallResponseBytes, true},
    RequestType{MessageType::kAnnounce, "announce", kMaxHeaderBytes},
    RequestType{MessageType::kPartitionInfo, "partition_info", kMaxSmallRequestBytes,
                kMaxHeaderBytes},
    RequestType{MessageType::kShuffleInfo, "shuffle_info", kMaxSmallRequestBytes, kMaxHeaderBytes},
    RequestType{MessageType::kListShuffles, "list_shuffles", kMaxSmallRequestBytes,
                kMaxHeaderBytes},
    RequestType{MessageType::kReadMerged, "read_merged", kMaxSmallRequestBytes,
                kMaxSmallResponseBytes, true},
    RequestType{MessageType::kReadBlock, "read_block", kMaxSmallRequestBytes,
                kMaxSmallResponseBytes, true},
    RequestType{MessageType::kDrop, "drop"},
    RequestType{MessageType::kMergedInfo, "merged_info", kMaxSmallRequestBytes, kMaxHeaderBytes},
    RequestType{MessageType::kReport, "report", kMaxSmallRequestBytes,
                merge::kMaxReportBytes + kMaxSmallResponseBytes},
    RequestType{MessageType::kMembers, "members", kMaxHeaderBytes, kMaxHeaderBytes},
};

// In kRequestTypes; its size for what is no request.
[[nodiscard]] constexpr std::size_t index_of(MessageType type) {
  return static_cast<std::size_t>(std::ranges::find(kRequestTypes, type, &RequestType::type) -
                                  kRequestTypes.begin());
}
// "push"; "unknown" for numbers of no request.
[[nodiscard]] constexpr std::string_view name_of(MessageType type) {
  const std::size_t at = index_of(type);
  return at < kRequestTypes.size() ? kRequestTypes.at(at).name : "unknown";
}
[[nodiscard]] constexpr uint16_t request_number(MessageType type) {
  return static_cast<uint16_t>(type);
}
[[nodiscard]] constexpr uint16_t response_number(MessageType type) {
  return static_cast<uint16_t>(static_cast<uint16_t>(type) + 1U);
}

// What the receiver of a request takes; an error for a type that is no request.
[[nodiscard]] Result<FrameLimits> request_limits(uint16_t type, uint64_t max_push_bytes);
// What its sender takes as the response, `payload_bytes` of payload expected.
[[nodiscard]] Result<FrameLimits> response_limits(uint16_t type, MessageType request,
                                                  uint64_t payload_bytes);

// ---- handshake ----

inline constexpr FrameLimits kHelloLimits = {4096, 0};
// Features. The sender has a shared secret, and will prove it.
inline constexpr uint64_t kProvesSecret = 1;

using Nonce = std::array<std::byte, 32>;

struct Hello {
  uint64_t features = 0;  // unknown bits are ignored
  NodeIdentity sender;
  std::string expected;  // the name that the caller believes the other one to have; empty: unknown
  Nonce nonce{};
  // Where peers reach the sender, and its record's clock. No host: where the connection comes from.
  // Port 0: it only asks, and is no member.
  HostPort address{};
  uint64_t clock = 0;
};
struct HelloResponse {
  uint64_t features = 0;
  NodeIdentity sender;
  Nonce nonce{};
  HostPort address{};  // as in the hello; no host: where it was reached
  uint64_t clock = 0;
  std::string caller_host{};  // where the callee sees the connection come from
};
// Both ways: the caller's proof, and the callee's in the response to it.
struct Proof {
  Bytes code = Bytes(32);
};

// ---- requests and responses that merge::NodeApi has no struct for ----

struct Pong {
  uint64_t incarnation = 0;
  MemberDigest digest;
};
struct PartitionRequest {  // kPartitionInfo, kMergedInfo
  merge::ShuffleKey shuffle;
  merge::PartitionId partition{};
};
struct ShuffleRequest {  // kShuffleInfo
  merge::ShuffleKey shuffle;
};
struct ReadMergedRequest {
  merge::ShuffleKey shuffle;
  merge::PartitionId partition{};
  uint64_t offset = 0;
  uint32_t length = 0;
};
struct ReadBlockRequest {
  merge::ShuffleKey shuffle;
  merge::MapId map{};
  uint64_t commit = 0;
  merge::PartitionId partition{};
  uint64_t offset = 0;
  uint32_t length = 0;
};
struct DropRequest {
  merge::AppId app;
  std::optional<merge::ShuffleId> shuffle;
  uint64_t life = 0;
};
struct ReportRequest {
  std::string about;
};
struct Nothing {};

// The Error frame. A code that this version does not know is kept as it is. (A Result<Error> cannot
// be.)
struct Refusal {
  Error error;
};

// ---- what each request and its response are ----

template <MessageType kOf, class RequestOf, class ResponseOf>
struct Message {
  static constexpr MessageType kType = kOf;
  using Request = RequestOf;
  using Response = ResponseOf;
};
// In the order of kRequestTypes.
using Messages =
    std::tuple<Message<MessageType::kPing, MemberDigest, Pong>,
               Message<MessageType::kPush, merge::PushRequest, merge::PushReply>,
               Message<MessageType::kAnnounce, merge::AnnounceRequest, Nothing>,
               Message<MessageType::kPartitionInfo, PartitionRequest, merge::PartitionInfo>,
               Message<MessageType::kShuffleInfo, ShuffleRequest, merge::ShuffleInfo>,
               Message<MessageType::kListShuffles, Nothing, std::vector<merge::ShuffleKey>>,
               Message<MessageType::kReadMerged, ReadMergedRequest, Nothing>,
               Message<MessageType::kReadBlock, ReadBlockRequest, Nothing>,
               Message<MessageType::kDrop, DropRequest, merge::DropReply>,
               Message<MessageType::kMergedInfo, PartitionRequest, merge::PartitionInfo>,
               Message<MessageType::kReport, ReportRequest, std::string>,
               Message<MessageType::kMembers, MemberExchange, MemberExchange>>;
template <MessageType kType>
using MessageOf = std::tuple_element_t<index_of(kType), Messages>;

// The same announcement in parts of about `max_bytes`: after a restart of a peer everything is
// announced again, which may be more than a frame holds. Drops come first: they begin the lives
// that the rest belongs to. A part is larger only if a single map output is. Announcing is
// additive.
[[nodiscard]] std::vector<merge::AnnounceRequest> split_announcement(merge::AnnounceRequest request,
                                                                     std::size_t max_bytes);

// docs/messages.md: every message with its fields, made of their declarations.
[[nodiscard]] std::string messages_page();

}  // namespace shufflefs::net
