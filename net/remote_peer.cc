#include "net/remote_peer.h"

#include <fmt/format.h>

#include <map>

#include "base/log.h"
#include "net/dial.h"

namespace shufflefs::net {
namespace {

Lane lane_of(MessageType type) {
  if (type == MessageType::kPing || type == MessageType::kMembers) return Lane::kHeartbeat;
  return type == MessageType::kPush ? Lane::kPush : Lane::kQuestions;
}

}  // namespace

RemotePeer::RemotePeer(Context context, std::string expected, HostPort address, Listener listener)
    : context_(std::move(context)),
      address_(std::move(address)),
      metrics_(context_.metrics),
      health_(context_.options),
      expected_(std::move(expected)),
      listener_(std::move(listener)),
      pool_(context_.runtime, context_.options) {}

void RemotePeer::close() {
  listener_ = nullptr;
  pool_.close();
}

Duration RemotePeer::timeout_of(MessageType type) const {
  switch (type) {
    case MessageType::kPing: return context_.options.heartbeat_timeout;
    case MessageType::kPush:
    case MessageType::kReadMerged:
    case MessageType::kReadBlock: return context_.options.payload_timeout;
    default: return context_.options.request_timeout;
  }
}

std::string RemotePeer::label() const {
  return expected_.empty() ? to_string(address_)
                           : fmt::format("{} ({})", expected_, to_string(address_));
}

void RemotePeer::heard_from(const NodeIdentity& who) {
  expected_ = who.name.str();
  if (listener_) listener_(who);
}

void RemotePeer::count_payloads(uint64_t pushed, uint64_t fetched) {
  if (pushed > 0) metrics_.pushed_bytes.with(expected_).add(pushed);
  if (fetched > 0) metrics_.fetched_bytes.with(expected_).add(fetched);
}

void RemotePeer::mark_up() {
  if (health_.succeeded()) log_info("peer.up", {{"peer", label()}});
}

void RemotePeer::mark_down(const Error& error, TimePoint started) {
  if (error.code == Code::kCancelled) return;
  if (error.code == Code::kTimeout) metrics_.timeouts.add();
  // What is left in the pool was made before the trouble, and would fail one request after the
  // other.
  pool_.drop_idle();
  const bool changed = health_.failed(error.message, started, context_.runtime.now());
  if (changed)
    log_limited(LogLevel::kWarning, "peer.down", {{"peer", label()}, {"reason", error.message}});
}

Task<Result<RemotePeer::Answer>> RemotePeer::ask(Self self, Call call) {
  const TimePoint started = self->context_.runtime.now();
  auto refuse_if_down = [&]() -> std::optional<Error> {
    if (call.type == MessageType::kPing) return std::nullopt;
    const auto reason = self->health_.refusal(self->context_.runtime.now());
    if (!reason) return std::nullopt;
    return make_error(Code::kPeerUnreachable,
                      fmt::format("{} is down: {}", self->label(), *reason));
  };
  if (call.header.size() > kMaxHeaderBytes) {
    co_return make_error(
        Code::kTooLarge,
        fmt::format("a {} request of {} with {} of header is above the limit of {}",
                    name_of(call.type), self->label(), format_bytes(call.header.size()),
                    format_bytes(kMaxHeaderBytes)));
  }
  if (auto down = refuse_if_down()) co_return *std::move(down);
  auto slot =
      co_await self->pool_.acquire(lane_of(call.type), started + self->timeout_of(call.type));
  if (!slot) co_return std::move(slot).error().with_context(self->label());
  // Once more: those in line must not try one after the other what has just failed for the first of
  // them.
  if (auto down = refuse_if_down()) co_return *std::move(down);
  self->metrics_.asked(call.type).add();
  const MessageType type = call.type;
  auto answer = co_await ask_in(self, std::move(call), *std::move(slot), started);
  self->metrics_.request_time(type).observe(self->context_.runtime.now() - started);
  co_return answer;
}

Task<Result<RemotePeer::Answer>> RemotePeer::ask_in(Self self, Call call, ConnectionPool::Slot slot,
                                                    TimePoint started) {
  const TimePoint deadline = started + self->timeout_of(call.type);
  const Bytes head = encode_frame_head(request_number(call.type), call.header, call.payload);
  bool reused = slot.take_idle();
  while (true) {
    if (!reused) CO_TRY(co_await connect(self, slot, started, deadline));
    auto answer = co_await exchange(self, slot.connection(), head, call, deadline);
    if (slot.connection().usable()) {  // the peer has answered, be it with an error
      self->mark_up();
      slot.keep();
      co_return answer;
    }
    if (reused && !slot.connection().heard() && answer.error().code == Code::kPeerUnreachable) {
      self->metrics_.request_retries.add();
      self->pool_.drop_idle();
      reused = false;
      continue;
    }
    self->metrics_.request_failures.add();
    self->mark_down(answer.error(), started);
    co_return std::move(answer).error().with_context(self->label());
  }
}

Task<Status> RemotePeer::connect(Self self, std::reference_wrapper<ConnectionPool::Slot> slot,
                                 TimePoint started, TimePoint deadline) {
  slot.get().drop();
  if (self->pool_.closed())
    co_return make_error(Code::kCancelled, self->label() + ": the connections are being closed");
  auto dialed =
      co_await dial(self->context_, self->metrics_, self->address_, self->expected_, deadline);
  if (!dialed) {
    self->metrics_.connect_failures.add();
    self->mark_down(dialed.error(), started);
    co_return std::move(dialed).error().with_context(self->label());
  }
  slot.get().adopt(std::move(dialed->connection));
  self->heard_from(dialed->hello.sender);
  co_return ok();
}

Task<Result<RemotePeer::Answer>> RemotePeer::exchange(Self self,
                                                      std::reference_wrapper<Connection> connection,
                                                      Bytes head,
                                                      std::reference_wrapper<const Call> call,
                                                      TimePoint deadline) {
  const MessageType type = call.get().type;
  const uint64_t answer_bytes = call.get().answer_bytes;
  CO_TRY(co_await connection.get().send(std::move(head), call.get().payload, deadline));
  CO_TRY_ASSIGN(Frame frame,
                co_await connection.get().receive(
                    {.first_byte_by = deadline,
                     .rest_within = self->timeout_of(type),
                     .whole_by = deadline,
                     .limits = [type, answer_bytes](
                                   uint16_t got) { return answer_limits(got, type, answer_bytes); },
                     .budget_patience = self->context_.options.budget_patience}));
  if (frame.type == request_number(MessageType::kError)) {
    auto refusal = decode_error(frame.header);
    if (refusal) co_return std::move(refusal->error);
    co_return std::move(refusal).error();
  }
  self->count_payloads(call.get().payload.size(), frame.payload.size());
  co_return Answer{std::move(frame.header), std::move(frame.payload),
                   std::move(frame.header_lease)};
}

template <class T>
Task<Result<T>> RemotePeer::ask_for(Self self, Call call,
                                    Result<T> (*decode)(std::span<const std::byte>)) {
  const MessageType type = call.type;
  CO_TRY_ASSIGN(const Answer answer, co_await ask(self, std::move(call)));
  auto decoded = decode(answer.header);
  if (decoded) co_return decoded;
  self->metrics_.protocol_errors.add();
  log_limited(
      LogLevel::kWarning, "peer.protocol_error",
      {{"peer", self->label()}, {"request", name_of(type)}, {"reason", decoded.error().message}});
  co_return std::move(decoded).error().with_context(self->label());
}

Task<Status> RemotePeer::ask_to(Self self, Call call) {
  CO_TRY_ASSIGN(const Answer answer, co_await ask(self, std::move(call)));
  co_return decode_nothing(answer.header);
}

Task<Result<Buffer>> RemotePeer::ask_for_bytes(Self self, Call call) {
  const uint32_t length = call.answer_bytes;
  if (length == 0 || length > merge::kMaxReadBytes) {
    co_return make_error(
        Code::kInvalidArgument,
        fmt::format("a read of {} bytes: 1 to {} are possible", length, merge::kMaxReadBytes));
  }
  CO_TRY_ASSIGN(Answer answer, co_await ask(self, std::move(call)));
  CO_TRY(decode_nothing(answer.header));
  if (answer.payload.size() != length) {
    co_return make_error(Code::kProtocol,
                         fmt::format("{}: asked for {} bytes, got {}", self->label(), length,
                                     answer.payload.size()));
  }
  co_return std::move(answer.payload);
}

// ---- heartbeat
// ------------------------------------------------------------------------------------------------------

Task<Status> RemotePeer::heartbeat() { return heartbeat_from(shared_from_this()); }

Task<Status> RemotePeer::heartbeat_from(Self self) {
  const TimePoint started = self->context_.runtime.now();
  self->pool_.close_idle_since(started - self->context_.options.idle_close);
  const auto& members = self->context_.members;
  const MemberDigest ping = members ? members->digest() : MemberDigest();
  CO_TRY_ASSIGN(const Pong pong,
                co_await ask_for(self, Call{MessageType::kPing, encode(ping), {}, 0}, decode_pong));
  self->health_.set_round_trip(self->context_.runtime.now() - started);
  CO_TRY_ASSIGN(merge::NodeName name, merge::NodeName::parse(self->expected_));
  self->heard_from({std::move(name), pong.incarnation});
  if (!members || pong.digest.records == 0) co_return ok();
  if (pong.digest.records == members->digest().records) {
    self->difference_.reset();
    co_return ok();
  }
  co_return co_await compare_members(self);
}

namespace {

void add_missing(std::vector<merge::NodeName>& missing, const merge::NodeName& name) {
  if (missing.size() < merge::ViewDifference::kMostNames) missing.push_back(name);
}

}  // namespace

// First what it knows better, then what it does not know yet. Bound: the records of the buckets
// that differ, and two questions.
Task<Status> RemotePeer::compare_members(Self self) {
  MemberTable& members = *self->context_.members;
  const auto ask_members = [&self](const MemberExchange& question) {
    return ask_for(self, Call{MessageType::kMembers, encode(question), {}, 0}, decode_members);
  };
  CO_TRY_ASSIGN(const MemberExchange theirs, co_await ask_members({members.digests(), {}}));
  merge::ViewDifference difference;
  CO_TRY_ASSIGN(difference.node, merge::NodeName::parse(self->expected_));
  std::map<merge::NodeName, MemberRecord> there;
  for (const MemberRecord& record : theirs.records) {
    members.learn(record);
    there.emplace(record.name, record);
    if (!record.left && !members.contains(record.name))
      add_missing(difference.missing_here, record.name);
  }
  std::vector<MemberRecord> news;
  for (MemberRecord& record : members.differing(theirs.digests)) {
    const auto known = there.find(record.name);
    if (known != there.end() && !is_newer(record, known->second)) continue;
    if (!record.left && (known == there.end() || known->second.left))
      add_missing(difference.missing_there, record.name);
    news.push_back(std::move(record));
  }
  const bool differs = !difference.missing_here.empty() || !difference.missing_there.empty();
  self->difference_ = differs ? std::optional(std::move(difference)) : std::nullopt;
  if (news.empty()) co_return ok();
  CO_TRY(co_await ask_members({members.digests(), std::move(news)}));
  co_return ok();
}

Task<Status> RemotePeer::tell_of_members() { return compare_members(shared_from_this()); }

// ---- the messages
// ---------------------------------------------------------------------------------------------------

Task<Result<merge::PushReply>> RemotePeer::push(merge::PushRequest request) {
  return push_from(shared_from_this(), std::move(request));
}

Task<Result<merge::PushReply>> RemotePeer::push_from(Self self, merge::PushRequest request) {
  co_return co_await ask_for(self,
                             Call{MessageType::kPush, encode(request), request.payload.span(), 0},
                             decode_push_reply);
}

Task<Status> RemotePeer::announce(merge::AnnounceRequest request) {
  return announce_from(shared_from_this(), std::move(request));
}

Task<Status> RemotePeer::announce_from(Self self, merge::AnnounceRequest request) {
  constexpr std::size_t kPartBytes = 1U << 20U;
  for (const merge::AnnounceRequest& part : split(std::move(request), kPartBytes)) {
    CO_TRY(co_await ask_to(self, Call{MessageType::kAnnounce, encode(part), {}, 0}));
  }
  co_return ok();
}

Task<Result<merge::PartitionInfo>> RemotePeer::partition_info(merge::ShuffleKey shuffle,
                                                              merge::PartitionId partition) {
  return ask_for(shared_from_this(),
                 Call{MessageType::kPartitionInfo,
                      encode(PartitionQuestion{std::move(shuffle), partition}),
                      {},
                      0},
                 decode_partition_info);
}

Task<Result<merge::PartitionInfo>> RemotePeer::merged_info(merge::ShuffleKey shuffle,
                                                           merge::PartitionId partition) {
  return ask_for(shared_from_this(),
                 Call{MessageType::kMergedInfo,
                      encode(PartitionQuestion{std::move(shuffle), partition}),
                      {},
                      0},
                 decode_partition_info);
}

Task<Result<merge::ShuffleInfo>> RemotePeer::shuffle_info(merge::ShuffleKey shuffle) {
  return ask_for(
      shared_from_this(),
      Call{MessageType::kShuffleInfo, encode(ShuffleQuestion{std::move(shuffle)}), {}, 0},
      decode_shuffle_info);
}

Task<Result<std::vector<merge::ShuffleKey>>> RemotePeer::list_shuffles() {
  return ask_for(shared_from_this(), Call{MessageType::kListShuffles, encode_nothing(), {}, 0},
                 decode_shuffles);
}

Task<Result<Buffer>> RemotePeer::read_merged(merge::ShuffleKey shuffle,
                                             merge::PartitionId partition, uint64_t offset,
                                             uint32_t length) {
  Bytes header = encode(ReadMergedQuestion{std::move(shuffle), partition, offset, length});
  return ask_for_bytes(shared_from_this(),
                       Call{MessageType::kReadMerged, std::move(header), {}, length});
}

Task<Result<Buffer>> RemotePeer::read_block(merge::ShuffleKey shuffle, merge::MapId map,
                                            uint64_t commit, merge::PartitionId partition,
                                            uint64_t offset, uint32_t length) {
  Bytes header =
      encode(ReadBlockQuestion{std::move(shuffle), map, commit, partition, offset, length});
  return ask_for_bytes(shared_from_this(),
                       Call{MessageType::kReadBlock, std::move(header), {}, length});
}

Task<Status> RemotePeer::drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle,
                              uint64_t life) {
  return ask_to(
      shared_from_this(),
      Call{MessageType::kDrop, encode(DropRequest{std::move(app), shuffle, life}), {}, 0});
}

Task<Result<std::string>> RemotePeer::report(std::string about) {
  return ask_for(shared_from_this(),
                 Call{MessageType::kReport, encode(ReportQuestion{std::move(about)}), {}, 0},
                 decode_report);
}

}  // namespace shufflefs::net
