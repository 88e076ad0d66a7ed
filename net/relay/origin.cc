#include "net/relay/origin.h"

#include <fmt/format.h>
#include <netinet/tcp.h>

#include "base/log.h"
#include "base/parse.h"
#include "merge/ask_nodes.h"
#include "net/ess/block_files.h"

namespace shufflefs::net::relay {
namespace {

using asio::ip::tcp;
constexpr std::size_t kOriginReadBytes = std::size_t{256} << 10U;
// An answer that is no block.
constexpr std::size_t kMaxAnswerBytes = std::size_t{16} << 20U;
// A block up to this size is received as a whole before it is sent: a slow origin does not hold up
// what the client gets from elsewhere.
constexpr uint64_t kWholeBytes = kOriginReadBytes;
// Those that have waited for the same attempt in vain do not each wait anew.
constexpr Duration kTryAgainAfter = std::chrono::seconds(1);
constexpr int kMaxAttempts = 4;

}  // namespace

Origin::Origin(Services& services, Gate& gate, tcp::endpoint address, Wire& client,
               std::function<void(const Error&)> give_up)
    : services_(services),
      gate_(gate),
      address_(std::move(address)),
      client_(client),
      give_up_(std::move(give_up)) {}

std::string Origin::name() const {
  return to_string(HostPort{address_.address().to_string(), address_.port()});
}

// ---- connecting ----------------------------------------------------------------------------------

Task<Result<tcp::socket>> Origin::open_socket() {
  tcp::socket socket(services_.runtime.context());
  boost::system::error_code error;
  socket.open(address_.protocol(), error);
  if (error) co_return make_error(Code::kPeerUnreachable, error.message());
  const int fd = socket.native_handle();
  // Without the mark it would be redirected to where it comes from.
  if (services_.mark != 0 &&
      ::setsockopt(fd, SOL_SOCKET, SO_MARK, &services_.mark, sizeof services_.mark) != 0)
    co_return errno_error("marking a connection (it needs CAP_NET_ADMIN)");
  const int on = 1;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct Attempt {
    bool late = false;
    bool over = false;
  };
  const auto attempt = std::make_shared<Attempt>();
  const auto shared = std::make_shared<tcp::socket>(std::move(socket));
  gate_.spawn([](Runtime& runtime, Duration timeout, std::shared_ptr<Attempt> of,
                 std::shared_ptr<tcp::socket> connecting) -> Task<void> {
    co_await sleep_for(runtime, timeout);
    if (of->over) co_return;
    of->late = true;
    boost::system::error_code ignored;
    connecting->cancel(ignored);
  }(services_.runtime, services_.times.connect, attempt, shared));
  const auto [failed] = co_await shared->async_connect(address_, kAsTuple);
  attempt->over = true;
  if (failed)
    co_return make_error(Code::kPeerUnreachable,
                         attempt->late ? std::string("no answer in time") : failed.message());
  co_return std::move(*shared);
}

Task<Result<Origin::LinkRef>> Origin::try_to_connect() {
  if (failed_ && services_.runtime.now() - failed_->first < kTryAgainAfter)
    co_return failed_->second;
  merge::Retries retries(services_.runtime, services_.times.origin_patience);
  while (!closed_) {
    auto socket = co_await open_socket();
    if (socket) {
      failed_.reset();
      auto link = std::make_shared<Link>(services_, std::move(*socket));
      gate_.spawn(write_forever(link));
      gate_.spawn(read_forever(link));
      co_return link;
    }
    if (co_await retries.pause()) continue;
    failed_ = {services_.runtime.now(),
               Error(socket.error()).with_context(fmt::format("the origin {}", name()))};
    co_return failed_->second;
  }
  co_return make_error(Code::kCancelled, "the connection was closed here");
}

Task<Result<Origin::LinkRef>> Origin::connect() {
  while (connecting_) {
    const auto connecting = connecting_;
    co_await connecting->wait();
  }
  if (closed_) co_return make_error(Code::kCancelled, "the connection was closed here");
  if (link_ && !link_->dead) co_return link_;
  connecting_ = std::make_shared<Event>(services_.runtime);
  auto link = co_await try_to_connect();
  if (link) link_ = *link;
  std::exchange(connecting_, nullptr)->set();
  co_return link;
}

void Origin::kill(Link& link, const Error& why) {
  if (link.dead) return;
  link.dead = true;
  boost::system::error_code ignored;
  link.socket.close(ignored);
  link.out_news.set();
  for (const auto& [id, fetch] : link.opening) fetch->news.set();
  for (const auto& [id, fetch] : link.streams) fetch->news.set();
  // A StreamRequest is answered before others are sent; its answer is waited for in any case.
  const bool waits = link.forwarded > 0 || link.in_frame || link.stream_name;
  end_stream_request(link);
  if (waits && !closed_) give_up_(why);
}

void Origin::end_stream_request(Link& link) {
  link.stream_name.reset();
  if (const auto done = std::exchange(link.stream_done, nullptr)) done->set();
}

void Origin::close() {
  closed_ = true;
  if (link_) kill(*link_, make_error(Code::kCancelled, "the connection was closed here"));
}

void Origin::watch(TimePoint now) {
  if (link_ && !link_->dead && link_->is_asked() &&
      now - link_->progress > services_.times.origin_silence)
    kill(*link_, make_error(Code::kTimeout, fmt::format("the origin {} is silent", name())));
}

// ---- asking --------------------------------------------------------------------------------------

Task<Result<ess::StreamHandle>> Origin::open_stream(LinkRef link, std::shared_ptr<Fetch> fetch) {
  const int64_t id = --next_request_;
  fetch->answered.assign(fetch->chunks.size(), false);
  fetch->left = fetch->chunks.size();
  if (!link->is_asked()) link->progress = services_.runtime.now();
  link->opening[id] = fetch;
  link->send(ess::rpc_request(id, ess::encode_fetch(fetch->stream->blocks, fetch->chunks)));
  while (!fetch->handle && !link->dead) {
    fetch->news.reset();
    co_await fetch->news.wait();
  }
  link->opening.erase(id);
  if (!fetch->handle)
    co_return make_error(Code::kPeerUnreachable, fmt::format("the origin {} was lost", name()));
  if (*fetch->handle && (*fetch->handle)->chunks != static_cast<int32_t>(fetch->chunks.size()))
    co_return make_error(Code::kProtocol, "the origin opened another stream than was asked for");
  co_return *fetch->handle;
}

Task<void> Origin::fail(RelayStream& stream, std::vector<uint32_t> chunks, Error why,
                        bool as_stream) {
  for (const uint32_t chunk : chunks) {
    services_.metrics.failed.add();
    const std::string text =
        fmt::format("{}: {}", ess::BlockFiles::describe(stream.blocks, chunk), why.message);
    log_limited(LogLevel::kWarning, "relay.block_failed",
                {{"origin", name()}, {"code", to_string(why.code)}, {"reason", text}});
    const Status sent = co_await client_.send(
        as_stream ? ess::stream_failure(fmt::format("{}_{}", stream.id, chunk), text)
                  : ess::chunk_failure(stream.id, static_cast<int32_t>(chunk), text));
    if (!sent) co_return;
  }
}

Task<void> Origin::fetch(std::shared_ptr<RelayStream> stream, std::vector<uint32_t> chunks) {
  Error why;
  for (int attempt = 0; attempt < kMaxAttempts && !closed_; ++attempt) {
    if (attempt > 0) co_await sleep_for(services_.runtime, std::chrono::seconds(1));
    auto connected = co_await connect();
    if (!connected) {
      why = connected.error();
      break;
    }
    const LinkRef link = *connected;
    const auto fetch = std::make_shared<Fetch>(services_.runtime);
    fetch->stream = stream;
    fetch->chunks = chunks;
    const auto handle = co_await open_stream(link, fetch);
    if (!handle) {
      why = handle.error();
      if (why.code == Code::kPeerUnreachable) continue;
      break;
    }
    link->streams[handle->stream] = fetch;
    for (std::size_t i = 0; i < chunks.size(); ++i)
      link->send(ess::chunk_request(handle->stream, static_cast<int32_t>(i)));
    while (fetch->left > 0 && !link->dead) {
      fetch->news.reset();
      co_await fetch->news.wait();
    }
    link->streams.erase(handle->stream);
    std::vector<uint32_t> left;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      if (!fetch->answered[i]) left.push_back(chunks[i]);
    }
    chunks = std::move(left);
    if (chunks.empty()) co_return;
    why = make_error(Code::kPeerUnreachable, fmt::format("the origin {} was lost", name()));
  }
  if (!closed_) co_await fail(*stream, std::move(chunks), std::move(why), false);
}

Task<void> Origin::fetch_as_stream(std::shared_ptr<RelayStream> stream, uint32_t chunk) {
  auto connected = co_await connect();
  if (!connected) co_return co_await fail(*stream, {chunk}, connected.error(), true);
  const LinkRef link = *connected;
  const auto fetch = std::make_shared<Fetch>(services_.runtime);
  fetch->stream = stream;
  fetch->chunks = {chunk};
  const auto handle = co_await open_stream(link, fetch);
  if (!handle) co_return co_await fail(*stream, {chunk}, handle.error(), true);
  link->stream_name = fmt::format("{}_{}", stream->id, chunk);
  const auto done = link->stream_done = std::make_shared<Event>(services_.runtime);
  link->send(ess::stream_request(fmt::format("{}_0", handle->stream)));
  co_await done->wait();
}

Task<void> Origin::forward_stream(std::string id) {
  services_.metrics.forwarded.add();
  const auto connected = co_await connect();
  if (!connected) co_return give_up_(connected.error());
  const LinkRef link = *connected;
  link->stream_name = id;
  const auto done = link->stream_done = std::make_shared<Event>(services_.runtime);
  link->send(ess::stream_request(id));
  co_await done->wait();
}

Task<void> Origin::forward(Bytes frame, std::size_t answers) {
  services_.metrics.forwarded.add();
  const auto connected = co_await connect();
  if (!connected) co_return give_up_(connected.error());
  if (!(*connected)->is_asked()) (*connected)->progress = services_.runtime.now();
  (*connected)->forwarded += answers;
  (*connected)->send(std::move(frame));
}

// ---- answers -------------------------------------------------------------------------------------

Task<void> Origin::write_forever(LinkRef link) {
  while (!link->dead) {
    if (link->out.empty()) {
      link->out_news.reset();
      co_await link->out_news.wait();
      continue;
    }
    Bytes frames = std::move(link->out.front());
    link->out.pop_front();
    for (; !link->out.empty() && frames.size() < kOriginReadBytes; link->out.pop_front())
      frames.insert(frames.end(), link->out.front().begin(), link->out.front().end());
    const auto [error, sent] = co_await asio::async_write(
        link->socket, asio::const_buffer(frames.data(), frames.size()), kAsTuple);
    if (error) kill(*link, make_error(Code::kPeerUnreachable, error.message()));
  }
}

Task<void> Origin::read_forever(LinkRef link) {
  Status status;
  while (status && !link->dead) status = co_await take_answer(*link);
  if (status) co_return;
  log_debug("relay.origin_lost", {{"origin", name()}, {"reason", status.error().message}});
  kill(*link, status.error());
}

Task<Status> Origin::need(Link& link, std::size_t bytes) {
  while (link.buffer.size() - link.at < bytes) {
    link.buffer.erase(link.buffer.begin(),
                      link.buffer.begin() + static_cast<std::ptrdiff_t>(link.at));
    link.at = 0;
    const std::size_t had = link.buffer.size();
    link.buffer.resize(std::max(bytes, had + kOriginReadBytes / 4));
    const auto [error, got] = co_await link.socket.async_read_some(
        asio::buffer(link.buffer.data() + had, link.buffer.size() - had), kAsTuple);
    link.buffer.resize(had + (error ? 0 : got));
    if (error) co_return make_error(Code::kPeerUnreachable, error.message());
    link.progress = services_.runtime.now();
  }
  co_return ok();
}

Task<Status> Origin::take_answer(Link& link) {
  CO_TRY(co_await need(link, ess::kLengthBytes + 1));
  const auto start = std::span<const std::byte>(link.buffer).subspan(link.at);
  CO_TRY_ASSIGN(const std::size_t size,
                ess::decode_length(start.first<ess::kLengthBytes>(), ess::kMaxFrameBytes));
  const bool is_block =
      static_cast<ess::FrameType>(start[ess::kLengthBytes]) == ess::FrameType::kChunkFetchSuccess;
  const std::size_t head = is_block ? ess::ChunkFetchSuccess::kHeadBytes : size;
  if (head > size || head > kMaxAnswerBytes)
    co_return make_error(Code::kProtocol, fmt::format("an answer of {} bytes", size));
  CO_TRY(co_await need(link, ess::kLengthBytes + head));
  link.at += ess::kLengthBytes;
  const auto frame = std::span<const std::byte>(link.buffer).subspan(link.at, head);
  CO_TRY_ASSIGN(const ess::ServerFrame answer, ess::decode_server_frame(frame));
  if (const auto* block = std::get_if<ess::ChunkFetchSuccess>(&answer)) {
    link.at += head;
    co_return co_await take(link, *block, size - head);
  }
  // What is answered is a copy: the buffer may move.
  const Bytes whole(frame.begin(), frame.end());
  link.at += head;
  CO_TRY_ASSIGN(const ess::ServerFrame owned, ess::decode_server_frame(whole));
  co_return co_await take(link, owned, whole);
}

Task<Status> Origin::take(Link& link, const ess::ChunkFetchSuccess& answer, uint64_t body) {
  int64_t stream = answer.stream;
  int32_t chunk = answer.chunk;
  const auto it = link.streams.find(answer.stream);
  if (it == link.streams.end()) {
    link.forwarded -= std::min<std::size_t>(link.forwarded, 1);
    co_return co_await copy(link, ess::chunk_success_head(stream, chunk, body), body);
  }
  const std::shared_ptr<Fetch> fetch = it->second;
  const auto place = static_cast<std::size_t>(answer.chunk);
  if (answer.chunk < 0 || place >= fetch->chunks.size() || fetch->answered[place])
    co_return make_error(Code::kProtocol, "the origin sent a block that nobody has asked for");
  stream = fetch->stream->id;
  chunk = static_cast<int32_t>(fetch->chunks[place]);
  CO_TRY(co_await copy(link, ess::chunk_success_head(stream, chunk, body), body));
  services_.metrics.count_origin(body);
  fetch->answered[place] = true;
  if (--fetch->left == 0) fetch->news.set();
  co_return ok();
}

Task<Status> Origin::take(Link& link, const ess::ServerFrame& answer,
                          std::span<const std::byte> frame) {
  if (const auto* rpc = std::get_if<ess::RpcResponse>(&answer)) {
    if (const auto it = link.opening.find(rpc->id); it != link.opening.end()) {
      it->second->handle = ess::decode_stream_handle(rpc->body);
      it->second->news.set();
      co_return ok();
    }
    if (rpc->id >= 0) link.forwarded -= std::min<std::size_t>(link.forwarded, 1);
  } else if (const auto* failure = std::get_if<ess::RpcFailure>(&answer)) {
    if (const auto it = link.opening.find(failure->id); it != link.opening.end()) {
      it->second->handle = make_error(Code::kNotFound, std::string(failure->error));
      it->second->news.set();
      co_return ok();
    }
    link.forwarded -= std::min<std::size_t>(link.forwarded, 1);
  } else if (const auto* chunk = std::get_if<ess::ChunkFetchFailure>(&answer)) {
    const auto it = link.streams.find(chunk->stream);
    const auto place = static_cast<std::size_t>(chunk->chunk);
    if (it != link.streams.end() && place < it->second->chunks.size() &&
        !it->second->answered[place]) {
      const std::shared_ptr<Fetch> fetch = it->second;
      services_.metrics.failed.add();
      CO_TRY(co_await client_.send(ess::chunk_failure(
          fetch->stream->id, static_cast<int32_t>(fetch->chunks[place]), chunk->error)));
      fetch->answered[place] = true;
      if (--fetch->left == 0) fetch->news.set();
      co_return ok();
    }
    link.forwarded -= std::min<std::size_t>(link.forwarded, 1);
  } else if (const auto* stream = std::get_if<ess::StreamResponse>(&answer)) {
    const std::string name = link.stream_name.value_or(std::string(stream->stream));
    CO_TRY(co_await copy(link, ess::stream_response_head(name, stream->bytes), stream->bytes));
    services_.metrics.count_origin(stream->bytes);
    end_stream_request(link);
    co_return ok();
  } else if (const auto* failed = std::get_if<ess::StreamFailure>(&answer)) {
    const std::string name = link.stream_name.value_or(std::string(failed->stream));
    CO_TRY(co_await client_.send(ess::stream_failure(name, failed->error)));
    end_stream_request(link);
    co_return ok();
  }
  co_return co_await client_.send(ess::whole_frame(frame));
}

Task<Status> Origin::copy(Link& link, Bytes head, uint64_t body) {
  if (body <= kWholeBytes) CO_TRY(co_await need(link, body));
  const auto turn = co_await client_.turn();
  if (!turn) co_return make_error(Code::kCancelled, "the connection was closed here");
  link.in_frame = true;
  uint64_t left = body;
  bool first = true;
  while (left > 0 || first) {
    if (left > 0) CO_TRY(co_await need(link, 1));
    const auto step =
        static_cast<std::size_t>(std::min<uint64_t>(left, link.buffer.size() - link.at));
    std::vector<asio::const_buffer> out;
    if (first) out.emplace_back(head.data(), head.size());
    out.emplace_back(link.buffer.data() + link.at, step);
    first = false;
    CO_TRY(co_await client_.write(std::move(out)));
    link.at += step;
    left -= step;
    link.progress = services_.runtime.now();
  }
  link.in_frame = false;
  co_return ok();
}

}  // namespace shufflefs::net::relay
