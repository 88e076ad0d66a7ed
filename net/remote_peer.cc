#include "net/remote_peer.h"

#include <fmt/format.h>

#include <map>

#include "base/log.h"
#include "net/handshake.h"
#include "net/message_fields.h"

namespace shufflefs::net {
namespace {

Lane lane_of(MessageType type) {
  if (type == MessageType::kPing || type == MessageType::kMembers) return Lane::kHeartbeat;
  return type == MessageType::kPush ? Lane::kPush : Lane::kQuestions;
}

}  // namespace

PeerHealth::View PeerHealth::view() const {
  const MutexLock lock(mu_);
  return {up_, up_ ? std::string() : reason_, round_trip_ms_};
}

std::optional<std::string> PeerHealth::refusal(TimePoint now) const {
  const MutexLock lock(mu_);
  if (!down_ || now >= retry_at_) return std::nullopt;
  return reason_;
}

bool PeerHealth::succeeded() {
  const MutexLock lock(mu_);
  const bool changed = !up_;
  up_ = true;
  down_ = false;
  pause_ = backoff_first_;
  return changed;
}

bool PeerHealth::failed(const std::string& reason, TimePoint started, TimePoint now) {
  const MutexLock lock(mu_);
  if (down_ && started < failed_at_) return false;
  const bool changed = up_;
  pause_ = down_ ? std::min(pause_ * 2, backoff_limit_) : backoff_first_;
  up_ = false;
  down_ = true;
  reason_ = reason;
  failed_at_ = now;
  retry_at_ = now + pause_;
  return changed;
}

void PeerHealth::set_round_trip(Duration duration) {
  const MutexLock lock(mu_);
  round_trip_ms_ = std::chrono::duration<double, std::milli>(duration).count();
}

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

std::optional<Error> RemotePeer::down(MessageType type) const {
  if (type == MessageType::kPing) return std::nullopt;
  const auto reason = health_.refusal(context_.runtime.now());
  if (!reason) return std::nullopt;
  return make_error(Code::kPeerUnreachable, fmt::format("{} is down: {}", label(), *reason));
}

// Its caller holds the peer (NodeProxy), as for all that it calls.
Task<Result<RemotePeer::Carried>> RemotePeer::carry(Call call) {
  const TimePoint started = context_.runtime.now();
  if (call.header.size() > kMaxHeaderBytes) {
    co_return make_error(
        Code::kTooLarge,
        fmt::format("a {} request of {} with {} of header is above the limit of {}",
                    name_of(call.type), label(), format_bytes(call.header.size()),
                    format_bytes(kMaxHeaderBytes)));
  }
  if (auto refused = down(call.type)) co_return *std::move(refused);
  auto slot = co_await pool_.acquire(lane_of(call.type), started + timeout_of(call.type));
  if (!slot) co_return std::move(slot).error().with_context(label());
  // Once more: those in line must not try one after the other what has just failed for the first of
  // them.
  if (auto refused = down(call.type)) co_return *std::move(refused);
  metrics_.asked(call.type).add();
  auto carried = co_await carry_in(call, *std::move(slot), started);
  metrics_.request_time(call.type).observe(context_.runtime.now() - started);
  co_return carried;
}

Task<Result<RemotePeer::Carried>> RemotePeer::carry_in(std::reference_wrapper<const Call> call,
                                                       ConnectionPool::Slot slot,
                                                       TimePoint started) {
  const MessageType type = call.get().type;
  const TimePoint deadline = started + timeout_of(type);
  const Bytes head = encode_frame_head(request_number(type), call.get().header, call.get().payload);
  bool reused = slot.take_idle();
  while (true) {
    if (!reused) CO_TRY(co_await connect(slot, started, deadline));
    auto carried = co_await exchange(slot.connection(), head, call, deadline);
    if (slot.connection().usable()) {  // the peer has responded, be it with an error
      mark_up();
      slot.keep();
      co_return carried;
    }
    if (reused && !slot.connection().heard() && carried.error().code == Code::kPeerUnreachable) {
      metrics_.request_retries.add();
      pool_.drop_idle();
      reused = false;
      continue;
    }
    metrics_.request_failures.add();
    mark_down(carried.error(), started);
    co_return std::move(carried).error().with_context(label());
  }
}

Task<Status> RemotePeer::connect(std::reference_wrapper<ConnectionPool::Slot> slot,
                                 TimePoint started, TimePoint deadline) {
  slot.get().drop();
  if (pool_.closed())
    co_return make_error(Code::kCancelled, label() + ": the connections are being closed");
  auto dialed = co_await dial(context_, metrics_, address_, expected_, deadline);
  if (!dialed) {
    metrics_.connect_failures.add();
    mark_down(dialed.error(), started);
    co_return std::move(dialed).error().with_context(label());
  }
  slot.get().adopt(std::move(dialed->connection));
  heard_from(dialed->hello.sender);
  co_return ok();
}

Task<Result<RemotePeer::Carried>> RemotePeer::exchange(
    std::reference_wrapper<Connection> connection, Bytes head,
    std::reference_wrapper<const Call> call, TimePoint deadline) {
  const MessageType type = call.get().type;
  const uint32_t expected_bytes = call.get().response_bytes;
  CO_TRY(co_await connection.get().send(std::move(head), call.get().payload, deadline));
  CO_TRY_ASSIGN(Frame frame, co_await connection.get().receive(
                                 {.first_byte_by = deadline,
                                  .rest_within = timeout_of(type),
                                  .whole_by = deadline,
                                  .limits =
                                      [type, expected_bytes](uint16_t got) {
                                        return response_limits(got, type, expected_bytes);
                                      },
                                  .budget_patience = context_.options.budget_patience}));
  if (frame.type == request_number(MessageType::kError)) {
    CO_TRY_ASSIGN(Refusal refusal, decode<Refusal>("error", frame.header));
    co_return std::move(refusal.error);
  }
  count_payloads(call.get().payload.size(), frame.payload.size());
  co_return Carried{std::move(frame.header), std::move(frame.payload),
                    std::move(frame.header_lease)};
}

Error RemotePeer::bad_response(MessageType type, Error error) {
  metrics_.protocol_errors.add();
  log_limited(LogLevel::kWarning, "peer.protocol_error",
              {{"peer", label()}, {"request", name_of(type)}, {"reason", error.message}});
  return std::move(error).with_context(label());
}

// ---- heartbeat ----

Task<Status> RemotePeer::heartbeat_of(Self self) {
  const TimePoint started = self->context_.runtime.now();
  self->pool_.close_idle_since(started - self->context_.options.idle_close);
  const auto& members = self->context_.members;
  CO_TRY_ASSIGN(const Pong pong, co_await ping(self, members ? members->digest() : MemberDigest()));
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
  CO_TRY_ASSIGN(const MemberExchange theirs,
                co_await exchange_members(self, {members.digests(), {}}));
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
  CO_TRY(co_await exchange_members(self, {members.digests(), std::move(news)}));
  co_return ok();
}

}  // namespace shufflefs::net
