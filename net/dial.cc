#include "net/dial.h"

#include <fmt/format.h>

#include "net/resolve.h"

namespace shufflefs::net {
namespace {

Result<FrameLimits> hello_answer_limits(uint16_t type) {
  if (type == answer_number(MessageType::kHello)) return kHelloLimits;
  if (type == request_number(MessageType::kError)) return FrameLimits{kMaxErrorBytes, 0};
  return make_error(Code::kProtocol,
                    fmt::format("message type {} is not the answer to a hello", type));
}

}  // namespace

Task<Result<Dialed>> dial(const Context& context, PeerMetrics& metrics, HostPort address,
                          std::string expected, TimePoint deadline) {
  AsioRuntime& runtime = context.runtime;
  const NetOptions& options = context.options;
  const TimePoint started = runtime.now();
  const TimePoint connect_by = std::min(deadline, started + options.connect_timeout);
  const TimePoint hello_by = std::min(deadline, started + options.hello_timeout);

  CO_TRY_ASSIGN(auto endpoints, co_await resolve(runtime, address, connect_by - started));
  Dialed dialed;
  dialed.connection = std::make_unique<Connection>(
      runtime, context.answers != nullptr ? *context.answers : context.budget, metrics,
      Socket(tcp::socket(runtime.context())));
  Connection& connection = *dialed.connection;
  CO_TRY(co_await connection.connect(std::move(endpoints), connect_by));

  const Hello hello{0, context.self, expected, {}};
  CO_TRY(co_await connection.send(
      encode_frame_head(request_number(MessageType::kHello), encode(hello), {}), {}, hello_by));
  CO_TRY_ASSIGN(const Frame answer,
                co_await connection.receive({.first_byte_by = hello_by,
                                             .rest_within = options.hello_timeout,
                                             .whole_by = hello_by,
                                             .limits = hello_answer_limits,
                                             .budget_patience = {}}));
  if (answer.type == request_number(MessageType::kError)) {
    CO_TRY_ASSIGN(Refusal refusal, decode_error(answer.header));
    co_return std::move(refusal.error).with_context("the peer refused the hello");
  }
  CO_TRY_ASSIGN(dialed.hello, decode_hello_answer(answer.header));
  CO_TRY(check_hello_answer(dialed.hello, expected));
  co_return dialed;
}

}  // namespace shufflefs::net
