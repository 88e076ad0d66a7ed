// One connection that a client has meant for the shuffle service of another node. Fetches of
// shuffle blocks are answered here: each block from its merged partition, else from its origin.
// Everything else goes to where it was meant to go, and its answer comes back.
//
// Chunks are answered in the order in which they lie in the merged files, each stream by itself, so
// that one that waits does not hold up others. Streams (StreamRequest) keep their order, as Spark
// demands.
//
// Threads: reactor. Failure: garbage, a limit or a stalled client close the connection, as does the
// loss of an origin that owes an answer (net/relay/origin.h). Cost: a coroutine for each open
// request.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>

#include "net/relay/origin.h"

namespace shufflefs::net::relay {

class RelayConnection : public std::enable_shared_from_this<RelayConnection> {
 public:
  using Socket = asio::ip::tcp::socket;

  // `node`: the member that the connection was meant for, if one has that address.
  RelayConnection(Services& services, Socket socket, asio::ip::tcp::endpoint origin,
                  std::optional<merge::NodeTag> node);
  ~RelayConnection();
  RelayConnection(const RelayConnection&) = delete;
  RelayConnection& operator=(const RelayConnection&) = delete;

  // Until the connection has ended.
  [[nodiscard]] static Task<void> run(std::shared_ptr<RelayConnection> self);
  // Ends what has stood still for too long. Every few seconds.
  void watch(TimePoint now);
  void close();

  [[nodiscard]] std::size_t streams() const { return streams_.size(); }

 private:
  using StreamRef = std::shared_ptr<RelayStream>;
  // A StreamRequest, of a stream of ours or of one that the origin has opened.
  struct StreamAsk {
    StreamRef stream;
    uint32_t chunk = 0;
    std::string id;
  };

  [[nodiscard]] Task<Status> read();
  [[nodiscard]] Task<Status> take_frames();
  [[nodiscard]] Task<Status> take_frame(std::span<const std::byte> bytes);
  [[nodiscard]] Task<Status> rpc(const ess::RpcRequest& request, std::span<const std::byte> frame);
  [[nodiscard]] Task<Status> open_stream(int64_t request, ess::BlockList blocks);
  [[nodiscard]] Task<Status> chunk(const ess::ChunkFetchRequest& request,
                                   std::span<const std::byte> frame);
  [[nodiscard]] Task<Status> stream(const ess::StreamRequest& request);
  // Takes the chunk as asked for; nothing if the stream is not known or has no such chunk.
  [[nodiscard]] StreamRef take_chunk(int64_t stream, int64_t chunk);

  [[nodiscard]] Task<void> serve(StreamRef stream);
  [[nodiscard]] Task<void> choose_sources(StreamRef stream);
  [[nodiscard]] Task<void> learn_empty(StreamRef stream);
  [[nodiscard]] Task<void> serve_streams();
  // Sends what is ready, and lets go of it.
  [[nodiscard]] Task<bool> send(Outgoing& out);
  // Sends merged chunks; returns those that could not be read.
  [[nodiscard]] Task<std::vector<uint32_t>> send_merged(StreamRef stream,
                                                        std::vector<uint32_t> chunks);
  // The bytes of a chunk, counted by where they came from.
  [[nodiscard]] Task<Result<merge::MergedReaders::Range>> read_chunk(const Choice& choice);
  // A range that is too large for that, partition by partition behind its head.
  [[nodiscard]] Task<void> send_parts(const Choice& choice, Bytes head);
  [[nodiscard]] Task<bool> send_as_stream(StreamRef stream, uint32_t chunk);
  void count_origin(const RelayStream& stream, const std::vector<uint32_t>& chunks);
  void give_up(const Error& why);

  Services& services_;
  Socket socket_;
  const std::string remote_;
  const std::optional<merge::NodeTag> node_;
  Gate gate_;
  Wire wire_;
  Origin origin_;
  Bytes input_;  // what is not yet a whole frame
  ess::Usage::Share input_share_;
  TimePoint input_since_;
  std::unordered_map<int64_t, StreamRef> streams_;
  std::deque<StreamAsk> stream_asks_;
  Event stream_news_;
  bool closed_ = false;
};

}  // namespace shufflefs::net::relay
