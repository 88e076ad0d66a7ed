// The network between simulated nodes: frames with the real wire format, each with a delay of its
// own (so that they overtake each other), lost, delivered twice, refused, or swallowed by a link
// that is cut. A request that gets no answer ends by its deadline.
//
// It stands where net::RemotePeer, net::Connection and net::PeerServer stand in production: those
// are sockets through and through. What it keeps of them: the frames, their codecs and
// net::dispatch, the deadlines, and that memory for a payload is leased before it is taken in.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "base/memory_budget.h"
#include "net/messages.h"
#include "sim/schedule.h"

namespace shufflefs::sim {

struct NetworkFaults {
  double lose_request = 0;
  double lose_answer = 0;
  double duplicate = 0;  // the request arrives a second time, later
  double damage = 0;     // a bit of the payload is flipped: the frame's checksum finds it
  Duration least_delay = std::chrono::microseconds(50);
  Duration most_delay = std::chrono::milliseconds(2);
};

// A request or an answer as it is on the wire.
struct WireFrame {
  net::Bytes head;
  std::vector<std::byte> payload;
};

// Where requests arrive; one for each node, whether it lives or not.
class Endpoint {
 public:
  using Answer = std::function<void(Result<WireFrame>)>;
  virtual ~Endpoint() = default;
  // False if nobody listens: connection refused.
  [[nodiscard]] virtual bool listening() const = 0;
  virtual void serve(merge::NodeName caller, WireFrame request, Answer answer) = 0;
  [[nodiscard]] virtual const merge::NodeName& name() const = 0;
};

class Network {
 public:
  Network(Schedule& schedule, uint64_t seed) : schedule_(schedule), random_(seed) {}

  NetworkFaults faults;
  void add(Endpoint& endpoint) { endpoints_.push_back(&endpoint); }

  // Both directions; what is under way is swallowed too.
  void cut(std::size_t a, std::size_t b) { cuts_.insert(std::minmax(a, b)); }
  void mend(std::size_t a, std::size_t b) { cuts_.erase(std::minmax(a, b)); }
  [[nodiscard]] bool is_cut(std::size_t a, std::size_t b) const {
    return cuts_.contains(std::minmax(a, b));
  }
  // Everything to and from the node takes so many times longer.
  void slow_down(std::size_t node, uint32_t factor) { slow_[node] = factor; }
  void heal();

  // `runtime` is the asking node's. Ends within `patience` (kTimeout); kPeerUnreachable if nobody
  // listens.
  Task<Result<WireFrame>> exchange(Runtime& runtime, std::size_t from, std::size_t to,
                                   WireFrame request, Duration patience);

  // Asked so far, by the type of the request.
  [[nodiscard]] const std::map<net::MessageType, uint64_t>& requests() const { return requests_; }

 private:
  struct Exchange;
  [[nodiscard]] Duration delay(std::size_t a, std::size_t b);
  void deliver(std::size_t from, std::size_t to, WireFrame request,
               std::shared_ptr<Exchange> exchange);
  void send_back(std::size_t from, std::size_t to, Result<WireFrame> answer,
                 std::shared_ptr<Exchange> exchange);

  Schedule& schedule_;
  Random random_;
  std::vector<Endpoint*> endpoints_;
  std::set<std::pair<std::size_t, std::size_t>> cuts_;
  std::map<std::size_t, uint32_t> slow_;
  std::map<net::MessageType, uint64_t> requests_;
};

}  // namespace shufflefs::sim
