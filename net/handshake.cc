#include "net/handshake.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/crypto.h"
#include "net/message_fields.h"
#include "net/peer_auth.h"

namespace shufflefs::net {
namespace {

std::shared_ptr<const PeerSecrets> secrets_of(const Context& context) {
  return context.auth != nullptr ? context.auth->secrets() : nullptr;
}

std::shared_ptr<TlsContext> tls_of(const Context& context) {
  return context.auth != nullptr ? context.auth->tls() : nullptr;
}

void introduce(const Context& context, auto& hello) {
  if (!context.members) return;
  const MemberRecord own = context.members->own();
  hello.address = own.address;
  hello.clock = own.clock;
}

ReceiveRules rules_for(uint16_t wanted, bool error_too, TimePoint deadline, Duration within) {
  return {.first_byte_by = deadline,
          .rest_within = within,
          .whole_by = deadline,
          .limits = [wanted, error_too](uint16_t type) -> Result<FrameLimits> {
            if (type == wanted) return kHelloLimits;
            if (error_too && type == request_number(MessageType::kError))
              return FrameLimits{kMaxErrorBytes, 0};
            return make_error(Code::kProtocol,
                              fmt::format("message type {} before the handshake is over", type));
          },
          .budget_patience = {}};
}

// What the callee responds; its refusal is an error.
Task<Result<Frame>> receive_response(std::reference_wrapper<const Context> context,
                                     std::reference_wrapper<Connection> connection, MessageType to,
                                     TimePoint deadline) {
  CO_TRY_ASSIGN(Frame frame,
                co_await connection.get().receive(rules_for(response_number(to), true, deadline,
                                                            context.get().options.hello_timeout)));
  if (frame.type == request_number(MessageType::kError)) {
    CO_TRY_ASSIGN(Refusal refusal, decode<Refusal>("error", frame.header));
    co_return std::move(refusal.error).with_context("the peer refused the hello");
  }
  co_return frame;
}

Task<Status> send(std::reference_wrapper<Connection> connection, uint16_t type, Bytes header,
                  TimePoint deadline) {
  co_return co_await connection.get().send(encode_frame_head(type, header, {}), {}, deadline);
}

// The version is the first field in every version of the protocol, and nothing after it is read if
// it is not ours.
Status check_version(std::span<const std::byte> header) {
  MessageReader reader("hello", header);
  uint32_t version = 0;
  reader.open_tuple("fields", 1);
  reader.number("protocol version", version);
  if (reader.failed()) return reader.finish(true).error();
  if (version == kProtocolVersion) return ok();
  return make_error(
      Code::kVersion,
      fmt::format("peer speaks protocol {}, this node speaks {}: upgrade the older one", version,
                  kProtocolVersion));
}

Error wrong_peer(std::string_view found, std::string_view expected, std::string_view found_by) {
  return make_error(
      Code::kWrongPeer,
      fmt::format("{} is {}, not {}: check the addresses in --members", found_by, found, expected));
}

struct Lookup {
  explicit Lookup(AsioRuntime& runtime) : resolver(runtime.context()), done(runtime.make_timer()) {}
  tcp::resolver resolver;
  std::unique_ptr<Timer> done;
  bool finished = false;
  boost::system::error_code error;
  std::vector<tcp::endpoint> endpoints;
};

}  // namespace

Task<Result<HelloResponse>> greet_callee(std::reference_wrapper<const Context> context,
                                         std::reference_wrapper<Connection> connection,
                                         std::string expected, TimePoint deadline) {
  const auto secrets = secrets_of(context);
  if (const auto tls = tls_of(context)) {
    CO_TRY(co_await connection.get().start_tls(tls, Role::kCaller, deadline));
  }
  Hello hello{secrets ? kProvesSecret : 0, context.get().self, expected, {}};
  introduce(context, hello);
  CO_TRY(random_fill(hello.nonce));
  const Bytes said = encode(hello);
  CO_TRY(co_await send(connection, request_number(MessageType::kHello), said, deadline));
  CO_TRY_ASSIGN(const Frame heard,
                co_await receive_response(context, connection, MessageType::kHello, deadline));
  CO_TRY_ASSIGN(HelloResponse response, decode_hello_response(heard.header));
  CO_TRY(check_hello_response(response, expected));
  CO_TRY(connection.get().check_certificate(response.sender.name.str()));
  if (!secrets) co_return response;
  if ((response.features & kProvesSecret) == 0) {
    co_return make_error(Code::kPermission,
                         "that node does not ask for a secret: give it the --secret-file too");
  }
  CO_TRY_ASSIGN(const Bytes channel, connection.get().channel());
  const Bytes transcript = transcript_of(said, heard.header, channel);
  CO_TRY_ASSIGN(const Bytes proof, secrets->prove(Role::kCaller, transcript));
  CO_TRY(co_await send(connection, request_number(MessageType::kProve), encode(Proof{proof}),
                       deadline));
  CO_TRY_ASSIGN(const Frame proven,
                co_await receive_response(context, connection, MessageType::kProve, deadline));
  CO_TRY_ASSIGN(const Proof counter_proof, decode<Proof>("prove", proven.header));
  CO_TRY(secrets->check(Role::kCallee, transcript, counter_proof.code));
  co_return response;
}

Task<Result<Hello>> greet_caller(std::reference_wrapper<const Context> context,
                                 std::reference_wrapper<Connection> connection,
                                 TimePoint deadline) {
  const auto secrets = secrets_of(context);
  if (const auto tls = tls_of(context)) {
    CO_TRY(co_await connection.get().start_tls(tls, Role::kCallee, deadline));
  }
  const Duration within = context.get().options.hello_timeout;
  CO_TRY_ASSIGN(const Frame heard,
                co_await connection.get().receive(
                    rules_for(request_number(MessageType::kHello), false, deadline, within)));
  CO_TRY_ASSIGN(Hello hello, decode_hello(heard.header));
  CO_TRY(check_hello(hello, context.get().self));
  CO_TRY(connection.get().check_certificate(hello.sender.name.str()));
  if (((hello.features & kProvesSecret) != 0) != (secrets != nullptr)) {
    co_return make_error(Code::kPermission,
                         secrets ? "this node takes only peers that know its secret: give the "
                                   "caller the same --secret-file"
                                 : "this node has no secret, but the caller has one: give this "
                                   "node the same --secret-file");
  }
  HelloResponse response{secrets ? kProvesSecret : 0, context.get().self, {}};
  introduce(context, response);
  response.caller_host = connection.get().remote_host();
  CO_TRY(random_fill(response.nonce));
  const Bytes said = encode(response);
  CO_TRY(co_await send(connection, response_number(MessageType::kHello), said, deadline));
  if (!secrets) co_return hello;

  CO_TRY_ASSIGN(const Frame proven,
                co_await connection.get().receive(
                    rules_for(request_number(MessageType::kProve), false, deadline, within)));
  CO_TRY_ASSIGN(const Proof proof, decode<Proof>("prove", proven.header));
  CO_TRY_ASSIGN(const Bytes channel, connection.get().channel());
  const Bytes transcript = transcript_of(heard.header, said, channel);
  CO_TRY_ASSIGN(const std::size_t secret, secrets->check(Role::kCaller, transcript, proof.code));
  // By the same secret, which the caller has for sure.
  CO_TRY_ASSIGN(const Bytes own, secrets->prove(Role::kCallee, transcript, secret));
  CO_TRY(co_await send(connection, response_number(MessageType::kProve), encode(Proof{own}),
                       deadline));
  co_return hello;
}

// ---- dialing ----

Task<Result<std::vector<tcp::endpoint>>> resolve(AsioRuntime& runtime, HostPort address,
                                                 Duration timeout) {
  boost::system::error_code not_numeric;
  const auto numeric = asio::ip::make_address(address.host, not_numeric);
  if (!not_numeric) co_return std::vector{tcp::endpoint(numeric, address.port)};

  // A completion and not a coroutine: getaddrinfo cannot be cancelled, so its end must not be
  // waited for.
  const auto lookup = std::make_shared<Lookup>(runtime);
  lookup->resolver.async_resolve(
      address.host, std::to_string(address.port), tcp::resolver::numeric_service,
      [lookup](const boost::system::error_code& error, const tcp::resolver::results_type& results) {
        lookup->finished = true;
        lookup->error = error;
        for (const auto& entry : results) {
          if (std::ranges::find(lookup->endpoints, entry.endpoint()) == lookup->endpoints.end()) {
            lookup->endpoints.push_back(entry.endpoint());
          }
        }
        lookup->done->wake();
      });
  co_await lookup->done->wait_for(timeout);
  if (!lookup->finished) {
    co_return make_error(Code::kTimeout,
                         fmt::format("looking up {}: the deadline passed", address.host));
  }
  if (lookup->error || lookup->endpoints.empty()) {
    co_return make_error(Code::kPeerUnreachable,
                         fmt::format("looking up {}: {}", address.host, lookup->error.message()));
  }
  co_return std::move(lookup->endpoints);
}

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

// ---- the messages ----

Result<Hello> decode_hello(std::span<const std::byte> header) {
  TRY(check_version(header));
  return decode<Hello>("hello", header);
}

Result<HelloResponse> decode_hello_response(std::span<const std::byte> header) {
  TRY(check_version(header));
  return decode<HelloResponse>("hello response", header);
}

MemberRecord record_of(const Hello& hello) {
  return {hello.sender.name, hello.address, hello.sender.incarnation, hello.clock, false};
}

MemberRecord record_of(const HelloResponse& response) {
  return {response.sender.name, response.address, response.sender.incarnation, response.clock,
          false};
}

Status check_hello(const Hello& hello, const NodeIdentity& self) {
  if (hello.expected.empty() || hello.expected == self.name.str()) return ok();
  return wrong_peer(self.name.str(), hello.expected, "the node at this address");
}

Status check_hello_response(const HelloResponse& response, std::string_view expected) {
  if (expected.empty() || expected == response.sender.name.str()) return ok();
  return wrong_peer(response.sender.name.str(), expected, "the node at that address");
}

}  // namespace shufflefs::net
