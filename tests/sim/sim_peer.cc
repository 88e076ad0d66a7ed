#include "sim/sim_peer.h"

#include "net/context.h"
#include "net/message_fields.h"

namespace shufflefs::sim {
namespace {

using net::Bytes;
using net::MessageType;

const net::NetOptions kOptions{};  // what production uses

// What net::Connection::receive does with bytes: prefix, limits, memory, checksums.
Task<Result<net::Frame>> take_in(ByteBudget& budget, WireFrame raw) {
  CO_TRY_ASSIGN(const net::FramePrefix prefix,
                net::decode_prefix(std::span(raw.head).first<net::kPrefixBytes>()));
  net::Frame frame;
  frame.type = prefix.type;
  frame.header.assign(raw.head.begin() + net::kPrefixBytes, raw.head.end());
  CO_TRY(net::check_header(prefix, frame.header));
  CO_TRY_ASSIGN(
      ByteBudget::Lease lease,
      co_await budget.acquire(frame.header.size() + raw.payload.size(), kOptions.budget_patience));
  CO_TRY(net::check_payload(prefix, raw.payload));
  frame.payload = Buffer(raw.payload.size(), std::move(lease));
  std::ranges::copy(raw.payload, frame.payload.data());
  co_return frame;
}

}  // namespace

Task<Result<WireFrame>> serve_frame(ByteBudget& budget, net::Asked asked, WireFrame request) {
  const auto prefix = net::decode_prefix(std::span(request.head).first<net::kPrefixBytes>());
  const uint16_t type = prefix ? prefix->type : 0;
  auto frame = co_await take_in(budget, std::move(request));
  if (!frame) {
    // No memory: the sender is told to try later. Damage: the connection is closed.
    if (frame.error().code == Code::kNoMemory && type == net::request_number(MessageType::kPush)) {
      merge::PushReply busy;
      busy.busy_ms = static_cast<uint32_t>(kOptions.busy_pause / std::chrono::milliseconds(1));
      co_return WireFrame{
          net::encode_frame_head(net::response_number(MessageType::kPush), net::encode(busy), {}),
          {}};
    }
    if (frame.error().code == Code::kNoMemory || frame.error().code == Code::kTooLarge)
      co_return WireFrame{net::encode_error_head(frame.error()), {}};
    co_return make_error(Code::kPeerUnreachable, frame.error().message);
  }
  const net::Reply reply = co_await net::dispatch(std::move(asked), *std::move(frame));
  if (reply.malformed) co_return make_error(Code::kProtocol, reply.malformed->message);
  co_return WireFrame{reply.head,
                      {reply.payload.data(), reply.payload.data() + reply.payload.size()}};
}

Task<Result<SimPeer::Carried>> SimPeer::carry(Call call) {
  if (const auto reason = link_.refusal())
    co_return make_error(Code::kPeerUnreachable, "it is down: " + *reason);
  WireFrame request{
      net::encode_frame_head(net::request_number(call.type), call.header, call.payload),
      {call.payload.begin(), call.payload.end()}};
  auto raw = co_await link_.network.exchange(link_.runtime, link_.from, link_.to,
                                             std::move(request), timeout_of(kOptions, call.type));
  link_.heard(raw.has_value());
  if (!raw) co_return std::move(raw).error();
  CO_TRY_ASSIGN(net::Frame frame, co_await take_in(link_.budget, *std::move(raw)));
  if (frame.type == net::request_number(MessageType::kError)) {
    CO_TRY_ASSIGN(net::Refusal refusal, net::decode<net::Refusal>("error", frame.header));
    co_return std::move(refusal.error);
  }
  if (call.type == MessageType::kAnnounce)
    link_.announced(net::decode<merge::AnnounceRequest>("announce", call.header).value());
  co_return Carried{std::move(frame.header), std::move(frame.payload), {}};
}

}  // namespace shufflefs::sim
