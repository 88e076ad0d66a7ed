#include "net/relay/connection.h"

#include <fmt/format.h>
#include <netinet/tcp.h>

#include <algorithm>

#include "base/log.h"
#include "base/parse.h"

namespace shufflefs::net::relay {
namespace {

constexpr std::size_t kReadBytes = std::size_t{64} << 10U;
constexpr std::size_t kFreeBytes = std::size_t{4} << 10U;
// Of blocks that are sent with one system call.
constexpr uint64_t kSendBytes = 256U << 10U;
constexpr std::size_t kSendBlocks = 200;

std::string address_of(const asio::ip::tcp::socket& socket) {
  boost::system::error_code failed;
  const auto peer = socket.remote_endpoint(failed);
  return failed ? "unknown" : to_string(HostPort{peer.address().to_string(), peer.port()});
}

}  // namespace

RelayConnection::RelayConnection(Services& services, Socket socket, asio::ip::tcp::endpoint origin,
                                 std::optional<merge::NodeTag> node)
    : services_(services),
      socket_(std::move(socket)),
      remote_(address_of(socket_)),
      node_(node),
      gate_(services.runtime, "relay"),
      wire_(services.runtime, socket_),
      origin_(services, gate_, std::move(origin), wire_,
              [this](const Error& why) { give_up(why); }),
      stream_news_(services.runtime) {
  boost::system::error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
}

RelayConnection::~RelayConnection() = default;

void RelayConnection::close() {
  if (std::exchange(closed_, true)) return;
  wire_.close();
  origin_.close();
  for (const auto& [id, stream] : streams_) stream->news.set();
  stream_news_.set();
}

void RelayConnection::give_up(const Error& why) {
  if (closed_) return;
  log_limited(LogLevel::kWarning, "relay.connection_closed",
              {{"remote", remote_}, {"code", to_string(why.code)}, {"reason", why.message}});
  close();
}

Task<void> RelayConnection::run(std::shared_ptr<RelayConnection> self) {
  self->gate_.spawn(self->serve_streams());
  const Status status = co_await self->read();
  if (!status && status.error().code == Code::kPeerUnreachable)
    log_debug("relay.connection_lost",
              {{"remote", self->remote_}, {"reason", status.error().message}});
  else if (!status)
    self->give_up(status.error());
  self->close();
  co_await self->gate_.close();
}

void RelayConnection::watch(TimePoint now) {
  if (closed_) return;
  if (wire_.stalled(now, services_.limits.client_timeout))
    return give_up(make_error(Code::kTimeout, "the client takes nothing"));
  if (!input_.empty() && now - input_since_ > services_.limits.frame_timeout)
    return give_up(make_error(Code::kTimeout, "half a frame, and nothing after it"));
  origin_.watch(now);
}

// ---- what the client sends -----------------------------------------------------------------------

Task<Status> RelayConnection::read() {
  while (!closed_) {
    const std::size_t had = input_.size();
    if (had == 0) {
      const auto [error] = co_await socket_.async_wait(Socket::wait_read, kAsTuple);
      if (error) break;
    }
    input_.resize(had + kReadBytes);
    const auto [error, got] =
        co_await socket_.async_read_some(asio::buffer(input_.data() + had, kReadBytes), kAsTuple);
    input_.resize(had + (error ? 0 : got));
    if (had == 0) input_since_ = services_.runtime.now();
    if (error) co_return make_error(Code::kPeerUnreachable, error.message());
    CO_TRY(co_await take_frames());
  }
  co_return make_error(Code::kPeerUnreachable, "the connection was closed here");
}

Task<Status> RelayConnection::take_frames() {
  std::size_t at = 0;
  while (!closed_ && input_.size() - at >= ess::kLengthBytes) {
    const auto rest = std::span<const std::byte>(input_).subspan(at);
    CO_TRY_ASSIGN(const std::size_t size, ess::decode_length(rest.first<ess::kLengthBytes>(),
                                                             services_.limits.frame_bytes));
    if (rest.size() - ess::kLengthBytes < size) break;
    at += ess::kLengthBytes + size;
    CO_TRY(co_await take_frame(rest.subspan(ess::kLengthBytes, size)));
  }
  input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(at));
  if (at > 0) input_since_ = services_.runtime.now();
  if (input_.empty()) input_ = Bytes();
  const uint64_t kept = input_.capacity() > kFreeBytes ? input_.capacity() : 0;
  if (!input_share_.resize(services_.usage, kept))
    co_return services_.usage.refused("a request", kept);
  co_return ok();
}

Task<Status> RelayConnection::take_frame(std::span<const std::byte> bytes) {
  CO_TRY_ASSIGN(const ess::ClientFrame frame, ess::decode_frame(bytes));
  if (const auto* asked = std::get_if<ess::ChunkFetchRequest>(&frame))
    co_return co_await chunk(*asked, bytes);
  if (const auto* asked = std::get_if<ess::StreamRequest>(&frame))
    co_return co_await stream(*asked);
  if (const auto* asked = std::get_if<ess::RpcRequest>(&frame))
    co_return co_await rpc(*asked, bytes);
  if (std::holds_alternative<ess::UploadStream>(frame)) {
    // Its body follows the frame, of any length; no shuffle service of ours takes it.
    co_return make_error(Code::kRefused, "a client of push-based shuffle");
  }
  const bool is_one_way = std::holds_alternative<ess::OneWayMessage>(frame);
  co_await origin_.forward(ess::whole_frame(bytes), is_one_way ? 0 : 1);
  co_return ok();
}

Task<Status> RelayConnection::rpc(const ess::RpcRequest& request,
                                  std::span<const std::byte> frame) {
  auto decoded = ess::decode_rpc(request.body);
  auto* blocks = decoded ? std::get_if<ess::BlockList>(&*decoded) : nullptr;
  if (blocks != nullptr && blocks->kind != ess::BlockList::Kind::kRdd && blocks->chunks() > 0)
    co_return co_await open_stream(request.id, std::move(*blocks));
  co_await origin_.forward(ess::whole_frame(frame), 1);
  co_return ok();
}

Task<Status> RelayConnection::open_stream(int64_t request, ess::BlockList blocks) {
  services_.metrics.requests.add();
  if (streams_.size() >= services_.limits.streams_per_connection)
    co_return make_error(Code::kTooLarge, "a connection has too many streams open");
  const auto stream = std::make_shared<RelayStream>(services_.runtime);
  const std::size_t chunks = blocks.chunks();
  const uint64_t bytes = sizeof(RelayStream) + blocks.bytes() +
                         chunks * (sizeof(Choice) + sizeof(merge::MergedReaders::Part));
  if (!stream->share.resize(services_.usage, bytes))
    co_return services_.usage.refused(
        fmt::format("a request for {} blocks of {}", chunks, blocks.app), bytes);
  stream->id = services_.next_stream++;
  stream->blocks = std::move(blocks);
  stream->asked.resize(chunks);
  stream->left = chunks;
  streams_.emplace(stream->id, stream);
  gate_.spawn(serve(stream));
  co_return co_await wire_.send(ess::rpc_response(
      request, ess::encode_stream_handle(stream->id, static_cast<int32_t>(chunks))));
}

RelayConnection::StreamRef RelayConnection::take_chunk(int64_t stream_id, int64_t chunk) {
  const auto it = streams_.find(stream_id);
  if (it == streams_.end()) return nullptr;
  const StreamRef stream = it->second;
  const auto place = static_cast<std::size_t>(chunk);
  if (chunk < 0 || place >= stream->asked.size()) return nullptr;
  if (!stream->asked[place]) {
    stream->asked[place] = true;
    if (--stream->left == 0) streams_.erase(it);
  }
  return stream;
}

Task<Status> RelayConnection::chunk(const ess::ChunkFetchRequest& request,
                                    std::span<const std::byte> frame) {
  if (request.stream < kFirstStream) {
    co_await origin_.forward(ess::whole_frame(frame), 1);
    co_return ok();
  }
  const StreamRef stream = take_chunk(request.stream, request.chunk);
  if (!stream)
    co_return co_await wire_.send(ess::chunk_failure(
        request.stream, request.chunk,
        fmt::format("Requested chunk not available since streamId {} is closed", request.stream)));
  stream->waiting.push_back(static_cast<uint32_t>(request.chunk));
  stream->news.set();
  co_return ok();
}

Task<Status> RelayConnection::stream(const ess::StreamRequest& request) {
  const auto named = ess::parse_stream_chunk(request.stream);
  StreamAsk ask{nullptr, 0, std::string(request.stream)};
  if (named && named->stream >= kFirstStream) {
    ask.stream = take_chunk(named->stream, named->chunk);
    ask.chunk = static_cast<uint32_t>(named->chunk);
    if (ask.stream) ask.stream->news.set();
  }
  if (stream_asks_.size() >= services_.limits.queued_chunks)
    co_return make_error(Code::kTooLarge, "too many streams were asked for");
  stream_asks_.push_back(std::move(ask));
  stream_news_.set();
  co_return ok();
}

// ---- what it is answered -------------------------------------------------------------------------

Task<void> RelayConnection::choose_sources(StreamRef stream) {
  const ess::BlockList& blocks = stream->blocks;
  const auto app = merge::AppId::parse(blocks.app);
  const auto partitions = app && node_ ? partitions_of(blocks) : std::nullopt;
  const auto choose_all = [&] {
    stream->choices.clear();
    bool all = true;
    for (std::size_t number = 0; number < blocks.chunks(); ++number) {
      stream->choices.push_back(
          choose(blocks, number, stream->readers, node_, services_.readers.max_block_bytes()));
      all = all && stream->choices.back().why != Why::kNotMerged;
    }
    return all;
  };
  if (partitions) {
    const merge::ShuffleKey shuffle{*app, static_cast<merge::ShuffleId>(blocks.shuffle)};
    for (const bool fresh : {false, true}) {
      for (const merge::PartitionId partition : *partitions)
        stream->readers[partition] =
            co_await services_.readers.open(shuffle, partition, fresh, partitions->size());
      if (choose_all()) break;
      if (blocks.kind == ess::BlockList::Kind::kRanges) {
        co_await learn_empty(stream);
        if (choose_all()) break;
      }
    }
  } else {
    (void)choose_all();
  }
  stream->chosen.set();
}

// Of the ranges that are not merged as a whole: perhaps the rest of them is empty.
Task<void> RelayConnection::learn_empty(StreamRef stream) {
  for (std::size_t number = 0; number < stream->blocks.chunks(); ++number) {
    if (stream->choices[number].why != Why::kNotMerged) continue;
    const ess::BlockList::Chunk chunk = stream->blocks.chunk(number);
    const auto map = static_cast<merge::MapId>(stream->blocks.maps[chunk.map]);
    for (int64_t partition = chunk.begin; partition < chunk.end; ++partition) {
      const auto reader = stream->readers.find(static_cast<merge::PartitionId>(partition));
      if (reader == stream->readers.end() || reader->second->find(map, *node_) != nullptr) continue;
      co_await reader->second->learn_empty(map, *node_);
      // One block that is there and not merged decides.
      if (!reader->second->is_empty(map, *node_)) break;
    }
  }
}

void RelayConnection::count_origin(const RelayStream& stream, const std::vector<uint32_t>& chunks) {
  for (const uint32_t chunk : chunks) {
    const Why why = stream.choices[chunk].why;
    const std::string reason(to_string(why == Why::kMerged ? Why::kFailed : why));
    services_.metrics.origins.with(reason).add();
  }
}

Task<void> RelayConnection::serve(StreamRef stream) {
  co_await choose_sources(stream);
  while (!closed_) {
    if (stream->waiting.empty()) {
      if (stream->left == 0) co_return;
      stream->news.reset();
      co_await stream->news.wait();
      continue;
    }
    std::vector<uint32_t> merged;
    std::vector<uint32_t> others;
    for (const uint32_t chunk : std::exchange(stream->waiting, {}))
      (stream->choices[chunk].why == Why::kMerged ? merged : others).push_back(chunk);
    const auto from_origin = [&](std::vector<uint32_t> chunks) {
      if (chunks.empty()) return;
      count_origin(*stream, chunks);
      std::ranges::sort(chunks);
      gate_.spawn(origin_.fetch(stream, std::move(chunks)));
    };
    from_origin(std::move(others));
    from_origin(co_await send_merged(stream, std::move(merged)));
  }
}

Task<bool> RelayConnection::send(Outgoing& out) {
  if (out.buffers.empty()) co_return true;
  const auto turn = co_await wire_.turn();
  const bool sent = turn && co_await wire_.write(std::move(out.buffers));
  out = Outgoing();
  co_return sent;
}

Task<std::vector<uint32_t>> RelayConnection::send_merged(StreamRef stream,
                                                         std::vector<uint32_t> chunks) {
  // As they lie in the merged file.
  const auto place_of = [&](uint32_t chunk) {
    const auto& first = stream->choices[chunk].parts.front();
    return std::pair(first.reader->plan().partition, first.block->offset);
  };
  std::ranges::sort(chunks, {}, place_of);
  std::vector<uint32_t> failed;
  std::size_t ahead = 0;
  uint64_t ahead_bytes = 0;
  Outgoing out;
  for (std::size_t i = 0; i < chunks.size() && !closed_; ++i) {
    const Choice& choice = stream->choices[chunks[i]];
    for (; ahead < chunks.size() && ahead_bytes < services_.ahead_bytes; ++ahead) {
      for (const auto& part : stream->choices[chunks[ahead]].parts)
        part.reader->prefetch(part.block);
      ahead_bytes += stream->choices[chunks[ahead]].bytes;
    }
    ahead_bytes -= std::min(ahead_bytes, choice.bytes);
    if (choice.bytes > services_.readers.max_range_bytes() && choice.parts.size() > 1) {
      if (!co_await send(out)) co_return failed;
      co_await send_parts(choice, ess::chunk_success_head(
                                      stream->id, static_cast<int32_t>(chunks[i]), choice.bytes));
      continue;
    }
    // What is ready does not wait for what is not.
    const bool is_ready = std::ranges::all_of(
        choice.parts, [](const auto& part) { return part.reader->is_loaded(part.block); });
    if (!is_ready && !co_await send(out)) co_return failed;
    auto range = co_await read_chunk(choice);
    if (!range) {
      log_limited(LogLevel::kWarning, "relay.merged_failed",
                  {{"app", stream->blocks.app},
                   {"shuffle", stream->blocks.shuffle},
                   {"partition", number(choice.parts.front().reader->plan().partition)},
                   {"map", number(choice.parts.front().block->map)},
                   {"reason", range.error().message}});
      failed.push_back(chunks[i]);
      continue;
    }
    out.add(ess::chunk_success_head(stream->id, static_cast<int32_t>(chunks[i]), choice.bytes));
    out.add(std::move(range->slice));
    if ((out.bytes >= kSendBytes || out.heads.size() >= kSendBlocks) && !co_await send(out))
      co_return failed;
  }
  (void)co_await send(out);
  co_return failed;
}

Task<Result<merge::MergedReaders::Range>> RelayConnection::read_chunk(const Choice& choice) {
  merge::MergedReaders::Range range;
  if (choice.parts.size() > 1) {
    CO_TRY_ASSIGN(range, co_await services_.readers.read_all(choice.parts));
  } else {
    const auto& part = choice.parts.front();
    CO_TRY_ASSIGN(range.slice, co_await part.reader->read(part.block));
    range.sources = {range.slice.unit->source};
  }
  for (std::size_t i = 0; i < choice.parts.size(); ++i)
    services_.metrics.count(range.sources[i], choice.parts[i].block->length);
  co_return range;
}

Task<void> RelayConnection::send_parts(const Choice& choice, Bytes head) {
  const auto turn = co_await wire_.turn();
  if (!turn) co_return;
  Status sent = co_await wire_.write(std::span<const std::byte>(head));
  for (std::size_t i = 0; sent && i < choice.parts.size(); ++i) {
    if (i + 1 < choice.parts.size())
      choice.parts[i + 1].reader->prefetch(choice.parts[i + 1].block);
    const auto& part = choice.parts[i];
    const auto slice = co_await part.reader->read(part.block);
    if (!slice) {
      // The client has the length already: it has to ask again, and gets it from the origin then.
      part.reader->give_up(part.block);
      co_return give_up(slice.error());
    }
    services_.metrics.count(slice->unit->source, slice->bytes.size());
    sent = co_await wire_.write(slice->bytes);
  }
  if (!sent) close();
}

Task<bool> RelayConnection::send_as_stream(StreamRef stream, uint32_t chunk) {
  const Choice& choice = stream->choices[chunk];
  Bytes head = ess::stream_response_head(fmt::format("{}_{}", stream->id, chunk), choice.bytes);
  if (choice.bytes > services_.readers.max_range_bytes() && choice.parts.size() > 1) {
    co_await send_parts(choice, std::move(head));
    co_return true;
  }
  auto range = co_await read_chunk(choice);
  if (!range) co_return false;
  Outgoing out;
  out.add(std::move(head));
  out.add(std::move(range->slice));
  if (!co_await send(out)) close();
  co_return true;
}

Task<void> RelayConnection::serve_streams() {
  while (!closed_) {
    if (stream_asks_.empty()) {
      stream_news_.reset();
      co_await stream_news_.wait();
      continue;
    }
    const StreamAsk ask = std::move(stream_asks_.front());
    stream_asks_.pop_front();
    if (!ask.stream) {
      co_await origin_.forward_stream(ask.id);
      continue;
    }
    co_await ask.stream->chosen.wait();
    const bool is_merged = ask.stream->choices[ask.chunk].why == Why::kMerged;
    if (is_merged && co_await send_as_stream(ask.stream, ask.chunk)) continue;
    count_origin(*ask.stream, {ask.chunk});
    co_await origin_.fetch_as_stream(ask.stream, ask.chunk);
  }
}

}  // namespace shufflefs::net::relay
