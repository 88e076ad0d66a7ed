#include "net/handshake.h"

#include <fmt/format.h>

#include "net/crypto.h"
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

// What the callee answers; its refusal is an error.
Task<Result<Frame>> receive_answer(std::reference_wrapper<const Context> context,
                                   std::reference_wrapper<Connection> connection, MessageType to,
                                   TimePoint deadline) {
  CO_TRY_ASSIGN(Frame frame,
                co_await connection.get().receive(rules_for(answer_number(to), true, deadline,
                                                            context.get().options.hello_timeout)));
  if (frame.type == request_number(MessageType::kError)) {
    CO_TRY_ASSIGN(Refusal refusal, decode_error(frame.header));
    co_return std::move(refusal.error).with_context("the peer refused the hello");
  }
  co_return frame;
}

Task<Status> send(std::reference_wrapper<Connection> connection, uint16_t type, Bytes header,
                  TimePoint deadline) {
  co_return co_await connection.get().send(encode_frame_head(type, header, {}), {}, deadline);
}

}  // namespace

Task<Result<HelloAnswer>> greet_callee(std::reference_wrapper<const Context> context,
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
                co_await receive_answer(context, connection, MessageType::kHello, deadline));
  CO_TRY_ASSIGN(HelloAnswer answer, decode_hello_answer(heard.header));
  CO_TRY(check_hello_answer(answer, expected));
  CO_TRY(connection.get().check_certificate(answer.sender.name.str()));
  if (!secrets) co_return answer;
  if ((answer.features & kProvesSecret) == 0) {
    co_return make_error(Code::kPermission,
                         "that node does not ask for a secret: give it the --secret-file too");
  }
  CO_TRY_ASSIGN(const Bytes channel, connection.get().channel());
  const Bytes transcript = transcript_of(said, heard.header, channel);
  CO_TRY_ASSIGN(const Bytes proof, secrets->prove(Role::kCaller, transcript));
  CO_TRY(co_await send(connection, request_number(MessageType::kProve), encode_proof(proof),
                       deadline));
  CO_TRY_ASSIGN(const Frame proven,
                co_await receive_answer(context, connection, MessageType::kProve, deadline));
  CO_TRY_ASSIGN(const Proof counter_proof, decode_proof(proven.header));
  CO_TRY(secrets->check(Role::kCallee, transcript, counter_proof));
  co_return answer;
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
  HelloAnswer answer{secrets ? kProvesSecret : 0, context.get().self, {}};
  introduce(context, answer);
  answer.caller_host = connection.get().remote_host();
  CO_TRY(random_fill(answer.nonce));
  const Bytes said = encode(answer);
  CO_TRY(co_await send(connection, answer_number(MessageType::kHello), said, deadline));
  if (!secrets) co_return hello;

  CO_TRY_ASSIGN(const Frame proven,
                co_await connection.get().receive(
                    rules_for(request_number(MessageType::kProve), false, deadline, within)));
  CO_TRY_ASSIGN(const Proof proof, decode_proof(proven.header));
  CO_TRY_ASSIGN(const Bytes channel, connection.get().channel());
  const Bytes transcript = transcript_of(heard.header, said, channel);
  CO_TRY_ASSIGN(const std::size_t secret, secrets->check(Role::kCaller, transcript, proof));
  // By the same secret, which the caller has for sure.
  CO_TRY_ASSIGN(const Bytes own, secrets->prove(Role::kCallee, transcript, secret));
  CO_TRY(
      co_await send(connection, answer_number(MessageType::kProve), encode_proof(own), deadline));
  co_return hello;
}

}  // namespace shufflefs::net
