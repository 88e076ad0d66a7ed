#include "sim/network.h"

namespace shufflefs::sim {

struct Network::Exchange {
  std::optional<Result<WireFrame>> answer;
  std::unique_ptr<Timer> answered;
};

void Network::heal() {
  faults = NetworkFaults{};
  cuts_.clear();
  slow_.clear();
}

Duration Network::delay(std::size_t a, std::size_t b) {
  const auto span = static_cast<uint64_t>((faults.most_delay - faults.least_delay).count());
  Duration delay = faults.least_delay + Duration(random_.below(span + 1));
  for (const std::size_t node : {a, b}) {
    const auto slow = slow_.find(node);
    if (slow != slow_.end()) delay *= slow->second;
  }
  return delay;
}

Task<Result<WireFrame>> Network::exchange(Runtime& runtime, std::size_t from, std::size_t to,
                                          WireFrame request, Duration patience) {
  const auto prefix = net::decode_prefix(std::span(request.head).first<net::kPrefixBytes>());
  if (prefix) ++requests_[static_cast<net::MessageType>(prefix->type)];
  const auto exchange = std::make_shared<Exchange>();
  exchange->answered = runtime.make_timer();
  if (!request.payload.empty() && random_.chance(faults.damage)) {
    request.payload[random_.below(request.payload.size())] ^= std::byte{16};
  }
  if (random_.chance(faults.duplicate)) deliver(from, to, request, exchange);
  if (!random_.chance(faults.lose_request)) deliver(from, to, std::move(request), exchange);
  const TimePoint deadline = runtime.now() + patience;
  while (!exchange->answer && runtime.now() < deadline)
    co_await exchange->answered->wait_for(deadline - runtime.now());
  if (!exchange->answer) co_return make_error(Code::kTimeout, "no answer in time");
  co_return std::move(*exchange->answer);
}

void Network::deliver(std::size_t from, std::size_t to, WireFrame request,
                      std::shared_ptr<Exchange> exchange) {
  auto arrive = [this, from, to, request = std::move(request),
                 exchange = std::move(exchange)]() mutable {
    if (is_cut(from, to)) return;
    if (!endpoints_[to]->listening()) {
      send_back(from, to, make_error(Code::kPeerUnreachable, "connection refused"),
                std::move(exchange));
      return;
    }
    endpoints_[to]->serve(endpoints_[from]->name(), std::move(request),
                          [this, from, to, exchange](Result<WireFrame> answer) {
                            send_back(from, to, std::move(answer), exchange);
                          });
  };
  schedule_.after(delay(from, to), Action(std::move(arrive)));
}

void Network::send_back(std::size_t from, std::size_t to, Result<WireFrame> answer,
                        std::shared_ptr<Exchange> exchange) {
  if (random_.chance(faults.lose_answer)) return;
  auto arrive = [this, from, to, answer = std::move(answer),
                 exchange = std::move(exchange)]() mutable {
    if (is_cut(from, to) || exchange->answer) return;
    exchange->answer = std::move(answer);
    exchange->answered->wake();
  };
  schedule_.after(delay(from, to), Action(std::move(arrive)));
}

}  // namespace shufflefs::sim
