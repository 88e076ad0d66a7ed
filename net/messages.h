// The messages between nodes: their types, and their headers in msgpack. Each method of
// merge::NodeApi is one request type; its answer is the next number. Fields, order and limits:
// docs/wire.md.
//
// Pure functions, any thread. Failure: decoders return kProtocol naming message and field, for any
// input at all, and never allocate more than a small multiple of the input. Encoders do not fail;
// who sends checks kMaxHeaderBytes.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "merge/node_api.h"
#include "net/member_table.h"
#include "net/wire.h"

namespace shufflefs::net {

// Numbers are on the wire. Requests are even, the answer to a request is the next odd number.
enum class MessageType : uint16_t {
  kError = 1,  // the answer to any request that failed
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

// Everything that may come after the handshake.
inline constexpr std::array kRequestTypes = {
    MessageType::kPing,          MessageType::kPush,        MessageType::kAnnounce,
    MessageType::kPartitionInfo, MessageType::kShuffleInfo, MessageType::kListShuffles,
    MessageType::kReadMerged,    MessageType::kReadBlock,   MessageType::kDrop,
    MessageType::kMergedInfo,    MessageType::kReport,      MessageType::kMembers};

[[nodiscard]] std::string_view name_of(
    MessageType type);  // "push"; "unknown" for numbers of no request
[[nodiscard]] constexpr uint16_t request_number(MessageType type) {
  return static_cast<uint16_t>(type);
}
[[nodiscard]] constexpr uint16_t answer_number(MessageType type) {
  return static_cast<uint16_t>(static_cast<uint16_t>(type) + 1U);
}

inline constexpr uint32_t kMaxHeaderBytes = 16U << 20U;  // of any frame
inline constexpr uint32_t kMaxQuestionBytes = 4U
                                              << 10U;  // of a request that is only ids and numbers
inline constexpr uint32_t kMaxErrorBytes = 8U << 10U;  // of an Error frame
inline constexpr std::size_t kMaxTextBytes = 4096;     // of a reason or an error message
inline constexpr uint64_t kMaxLength =
    0x7FFFFFFFFFFFFFFF;  // of anything that has a length in bytes

// What the answering side takes; an error for a type that is not a request.
[[nodiscard]] Result<FrameLimits> request_limits(uint16_t type, uint64_t max_push_bytes);
// What the asking side takes as the answer to `request`, `payload_bytes` of payload expected.
[[nodiscard]] Result<FrameLimits> answer_limits(uint16_t type, MessageType request,
                                                uint64_t payload_bytes);

// ---- members
// ------------------------------------------------------------------------------------------------------------

struct Pong {
  uint64_t incarnation = 0;
  MemberDigest digest;
};

[[nodiscard]] Bytes encode(const MemberDigest& ping);
[[nodiscard]] Result<MemberDigest> decode_ping(std::span<const std::byte> header);
[[nodiscard]] Bytes encode(const Pong& pong);
[[nodiscard]] Result<Pong> decode_pong(std::span<const std::byte> header);
// The request and its answer.
[[nodiscard]] Bytes encode(const MemberExchange& exchange);
[[nodiscard]] Result<MemberExchange> decode_members(std::span<const std::byte> header);

// ---- push and announce
// ----------------------------------------------------------------------------------------------

[[nodiscard]] Bytes encode(const merge::PushRequest& request);  // without the payload
// Also checks that the blocks' lengths add up to the payload.
[[nodiscard]] Result<merge::PushRequest> decode_push(std::span<const std::byte> header,
                                                     Buffer payload);
[[nodiscard]] Bytes encode(const merge::PushReply& reply);
[[nodiscard]] Result<merge::PushReply> decode_push_reply(std::span<const std::byte> header);

[[nodiscard]] Bytes encode(const merge::AnnounceRequest& request);
[[nodiscard]] Result<merge::AnnounceRequest> decode_announce(std::span<const std::byte> header);
// The same announcement in parts of about `max_bytes`: after a restart of a peer everything is
// announced again, which may be more than a frame holds. Drops come first: they begin the lives
// that the rest belongs to. A part is larger only if a single map output is. Announcing is
// additive.
[[nodiscard]] std::vector<merge::AnnounceRequest> split(merge::AnnounceRequest request,
                                                        std::size_t max_bytes);

// ---- questions
// ------------------------------------------------------------------------------------------------------

struct PartitionQuestion {  // kPartitionInfo, kMergedInfo
  merge::ShuffleKey shuffle;
  merge::PartitionId partition{};
};
struct ShuffleQuestion {
  merge::ShuffleKey shuffle;
};
struct ReadMergedQuestion {
  merge::ShuffleKey shuffle;
  merge::PartitionId partition{};
  uint64_t offset = 0;
  uint32_t length = 0;
};
struct ReadBlockQuestion {
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

struct ReportQuestion {
  std::string about;
};

[[nodiscard]] Bytes encode(const ReportQuestion& question);
[[nodiscard]] Bytes encode(const PartitionQuestion& question);
[[nodiscard]] Bytes encode(const ShuffleQuestion& question);
[[nodiscard]] Bytes encode(const ReadMergedQuestion& question);
[[nodiscard]] Bytes encode(const ReadBlockQuestion& question);
[[nodiscard]] Bytes encode(const DropRequest& request);
[[nodiscard]] Result<PartitionQuestion> decode_partition_question(
    std::span<const std::byte> header);
[[nodiscard]] Result<ShuffleQuestion> decode_shuffle_question(std::span<const std::byte> header);
[[nodiscard]] Result<ReadMergedQuestion> decode_read_merged(std::span<const std::byte> header);
[[nodiscard]] Result<ReadBlockQuestion> decode_read_block(std::span<const std::byte> header);
[[nodiscard]] Result<DropRequest> decode_drop(std::span<const std::byte> header);
[[nodiscard]] Result<ReportQuestion> decode_report_question(std::span<const std::byte> header);

// ---- answers
// --------------------------------------------------------------------------------------------------------

[[nodiscard]] Bytes encode(const merge::PartitionInfo& info);
[[nodiscard]] Bytes encode(const merge::ShuffleInfo& info);
[[nodiscard]] Bytes encode(const std::vector<merge::ShuffleKey>& shuffles);
[[nodiscard]] Bytes
encode_nothing();  // requests without fields; the answers of announce, drop and reads
[[nodiscard]] Result<merge::PartitionInfo> decode_partition_info(std::span<const std::byte> header);
[[nodiscard]] Result<merge::ShuffleInfo> decode_shuffle_info(std::span<const std::byte> header);
[[nodiscard]] Result<std::vector<merge::ShuffleKey>> decode_shuffles(
    std::span<const std::byte> header);
[[nodiscard]] Bytes encode_report(std::string_view text);
[[nodiscard]] Result<std::string> decode_report(std::span<const std::byte> header);
[[nodiscard]] Status decode_nothing(std::span<const std::byte> header);

// The Error frame. A code that this version does not know is kept as it is.
[[nodiscard]] Bytes encode(const Error& error);
struct Refusal {  // because a Result<Error> cannot be
  Error error;
};
[[nodiscard]] Result<Refusal> decode_error(std::span<const std::byte> header);

}  // namespace shufflefs::net
