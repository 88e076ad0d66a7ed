#include "net/dial.h"

#include "net/handshake.h"
#include "net/resolve.h"

namespace shufflefs::net {
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

  CO_TRY_ASSIGN(dialed.hello,
                co_await greet_callee(context, connection, std::move(expected), hello_by));
  if (context.members) {
    context.members->seen_from(dialed.hello.caller_host);
    context.members->met(record_of(dialed.hello), address.host);
  }
  co_return dialed;
}

}  // namespace shufflefs::net
