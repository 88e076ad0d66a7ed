// The relay as a client of the service that its own client has meant to reach: fetches the blocks
// that are not merged, and forwards what is no fetch of shuffle blocks, with its answers.
//
// Threads: reactor. Ownership: of the client's connection, whose gate has its coroutines. Failure:
// a block that cannot be had is answered by a ChunkFetchFailure that names the origin, after
// RelayTimes::origin_patience; the connection to the client is given up (`give_up`) where the
// client waits for an answer that only the lost connection could have given, or has half of one.
#pragma once

#include <deque>
#include <functional>
#include <unordered_map>

#include "base/gate.h"
#include "net/ess/client_protocol.h"
#include "net/relay/services.h"
#include "net/relay/wire.h"

namespace shufflefs::net::relay {

class Origin {
 public:
  Origin(Services& services, Gate& gate, asio::ip::tcp::endpoint address, Wire& client,
         std::function<void(const Error&)> give_up);
  Origin(const Origin&) = delete;
  Origin& operator=(const Origin&) = delete;

  // Gets these chunks and sends them to the client, or their failure. Returns when that is done.
  [[nodiscard]] Task<void> fetch(std::shared_ptr<RelayStream> stream, std::vector<uint32_t> chunks);
  // The same of one chunk that was asked for by a StreamRequest.
  [[nodiscard]] Task<void> fetch_as_stream(std::shared_ptr<RelayStream> stream, uint32_t chunk);

  // A frame as it came from the client. `answers`: how many the client waits for (0 or 1).
  [[nodiscard]] Task<void> forward(Bytes frame, std::size_t answers);
  // A StreamRequest of a stream that is not ours; returns when it is answered.
  [[nodiscard]] Task<void> forward_stream(std::string id);

  void watch(TimePoint now);
  void close();

 private:
  struct Fetch {
    explicit Fetch(Runtime& runtime) : news(runtime) {}
    std::shared_ptr<RelayStream> stream;
    std::vector<uint32_t> chunks;
    std::vector<bool> answered;
    std::size_t left = 0;
    std::optional<Result<ess::StreamHandle>> handle;
    Event news;  // the handle, the last answer, or the end of the link
  };
  // One connection.
  struct Link {
    Link(Services& services, asio::ip::tcp::socket opened)
        : socket(std::move(opened)), out_news(services.runtime), progress(services.runtime.now()) {}
    asio::ip::tcp::socket socket;
    std::deque<Bytes> out;
    Event out_news;
    bool dead = false;
    bool in_frame = false;      // the client has got half of an answer
    std::size_t forwarded = 0;  // answers that the client waits for
    std::unordered_map<int64_t, std::shared_ptr<Fetch>> opening;  // by request id
    std::unordered_map<int64_t, std::shared_ptr<Fetch>> streams;  // by the origin's stream id
    // The StreamRequest under way: what the client calls it.
    std::optional<std::string> stream_name;
    std::shared_ptr<Event> stream_done;
    TimePoint progress;
    Bytes buffer;
    std::size_t at = 0;

    void send(Bytes frame) {
      out.push_back(std::move(frame));
      out_news.set();
    }
    [[nodiscard]] bool is_asked() const {
      return forwarded > 0 || !opening.empty() || !streams.empty() || stream_name;
    }
  };
  using LinkRef = std::shared_ptr<Link>;

  [[nodiscard]] Task<Result<LinkRef>> connect();
  [[nodiscard]] Task<Result<LinkRef>> try_to_connect();
  [[nodiscard]] Task<Result<asio::ip::tcp::socket>> open_socket();
  // Opens a stream of these chunks there.
  [[nodiscard]] Task<Result<ess::StreamHandle>> open_stream(LinkRef link,
                                                            std::shared_ptr<Fetch> fetch);
  [[nodiscard]] Task<void> fail(RelayStream& stream, std::vector<uint32_t> chunks, Error why,
                                bool as_stream);

  [[nodiscard]] Task<void> write_forever(LinkRef link);
  [[nodiscard]] Task<void> read_forever(LinkRef link);
  [[nodiscard]] Task<Status> take_answer(Link& link);
  [[nodiscard]] Task<Status> take(Link& link, const ess::ChunkFetchSuccess& answer, uint64_t body);
  [[nodiscard]] Task<Status> take(Link& link, const ess::ServerFrame& answer,
                                  std::span<const std::byte> frame);
  // Sends the head and so many bytes that follow in the connection.
  [[nodiscard]] Task<Status> copy(Link& link, Bytes head, uint64_t body);
  // Until so many bytes are in the buffer.
  [[nodiscard]] Task<Status> need(Link& link, std::size_t bytes);
  void end_stream_request(Link& link);
  void kill(Link& link, const Error& why);
  [[nodiscard]] std::string name() const;

  Services& services_;
  Gate& gate_;
  const asio::ip::tcp::endpoint address_;
  Wire& client_;
  std::function<void(const Error&)> give_up_;
  LinkRef link_;
  std::shared_ptr<Event> connecting_;
  std::optional<std::pair<TimePoint, Error>> failed_;  // the last attempt to connect
  int64_t next_request_ = -1;  // clients' are never negative; -1 is a sign of life
  bool closed_ = false;
};

}  // namespace shufflefs::net::relay
