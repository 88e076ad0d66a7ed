// Sealed bytes of Spark's clients, under keys that the script does not know but may use: each step
// either seals something as a client would, or changes what was sealed, or is no cipher's work at
// all.
//
// Held to: what was sealed and not changed is opened as it was; after the first refusal everything
// is refused; and no more is given out than has come in.
#include <algorithm>

#include "net/ess/auth/server_auth.h"
#include "tests/fuzz/session.h"
#include "tests/fuzz/state_targets.h"

namespace shufflefs::fuzz {
namespace {

using namespace net::ess;  // NOLINT(google-build-using-namespace): what is fuzzed
using net::Bytes;
using net::SecretBytes;

Bytes filled(std::size_t size, uint8_t with) { return Bytes(size, std::byte{with}); }
SecretBytes secret(std::size_t size, uint8_t with) {
  SecretBytes bytes(size);
  std::ranges::fill(bytes.writable(), std::byte{with});
  return bytes;
}

struct Ends {
  std::unique_ptr<Cipher> client;
  std::unique_ptr<Cipher> server;
};

Ends make_ends(uint8_t which) {
  SessionKeys keys{secret(32, 1), secret(16, 2), secret(16, 3), secret(16, 4)};
  Ends ends;
  switch (which % 3) {
    case 0:
      ends.client =
          make_ctr_cipher(keys.key_v1.view(), keys.client_iv.view(), keys.server_iv.view()).value();
      break;
    case 1: ends.client = make_gcm_cipher(secret(16, 2)); break;
    default: ends.client = make_gcm_cipher(secret(32, 1)); break;
  }
  ends.server = make_session_cipher(std::move(keys));
  return ends;
}

// The first message of a handshake, or two.
void shake_hands(Script& script) {
  static const auto known = std::make_shared<const AuthSecret>("no script knows it");
  ServerAuth auth(known, {});
  while (!script.done() && !auth.done()) {
    const AuthResponse answer = auth.receive(script.piece(2));
    if (answer.close) break;
  }
  require(!auth.done());
}

void exchange(Ends ends, Script& script) {
  Bytes said, heard;
  bool changed = false;
  bool refused = false;
  std::size_t arrived = 0;
  // As every client's stream begins: a frame's length.
  Bytes first = filled(8, 0);
  first.back() = std::byte{64};
  first.resize(64);
  for (bool begin = true; begin || !script.done(); begin = false) {
    const uint8_t how = begin ? 0 : script.byte();
    const Input piece = begin ? Input(first) : script.piece(2);
    Bytes sealed;
    if (how % 4 == 3) {
      sealed.assign(piece.begin(), piece.end());
      changed = changed || !piece.empty();
    } else {
      const Input plain = piece.first(std::min(piece.size(), Cipher::kMaxSealBytes));
      if (plain.empty() || !ends.client->seal(plain, sealed)) continue;
      said.insert(said.end(), plain.begin(), plain.end());
      if (how % 4 == 2) {
        sealed[script.number(2) % sealed.size()] ^= std::byte{1};
        changed = true;
      }
    }
    // In two reads.
    const std::size_t cut = sealed.empty() ? 0 : script.number(2) % sealed.size();
    for (const Input part : {Input(sealed).first(cut), Input(sealed).subspan(cut)}) {
      arrived += part.size();
      const bool opened = ends.server->open(part, heard).has_value();
      require(!refused || !opened);
      refused = !opened;
      require(heard.size() <= arrived);
    }
  }
  if (!changed) require(!refused && heard == said);
}

}  // namespace

void spark_ciphers(Input input) {
  Script script(input);
  const uint8_t which = script.byte();
  if (which % 8 == 7) return shake_hands(script);
  exchange(make_ends(which), script);
}

}  // namespace shufflefs::fuzz
