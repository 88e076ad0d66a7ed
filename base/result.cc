#include "base/result.h"

#include <cstring>

namespace shufflefs {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::kOk: return "ok";
    case Code::kInvalidArgument: return "invalid_argument";
    case Code::kNotFound: return "not_found";
    case Code::kIo: return "io";
    case Code::kTimeout: return "timeout";
    case Code::kCancelled: return "cancelled";
    case Code::kNoMemory: return "no_memory";
    case Code::kExists: return "exists";
    case Code::kPermission: return "permission";
    case Code::kInternal: return "internal";
    case Code::kCorruptIndex: return "corrupt_index";
    case Code::kCorruptData: return "corrupt_data";
    case Code::kBlockLost: return "block_lost";
    case Code::kDropped: return "dropped";
    case Code::kTooLarge: return "too_large";
    case Code::kRefused: return "refused";
    case Code::kNoSpace: return "no_space";
    case Code::kPeerUnreachable: return "peer_unreachable";
    case Code::kProtocol: return "protocol";
    case Code::kVersion: return "version";
    case Code::kWrongPeer: return "wrong_peer";
    case Code::kMount: return "mount";
    case Code::kReadOnly: return "read_only";
    case Code::kConfig: return "config";
  }
  return "unknown";
}

int to_errno(Code code) {
  switch (code) {
    case Code::kOk: return 0;
    case Code::kInvalidArgument:
    case Code::kTooLarge:
    case Code::kConfig: return EINVAL;
    case Code::kNotFound:
    case Code::kDropped: return ENOENT;
    case Code::kExists: return EEXIST;
    case Code::kPermission:
    case Code::kRefused: return EPERM;
    case Code::kNoSpace: return ENOSPC;
    case Code::kReadOnly: return EROFS;
    case Code::kNoMemory: return ENOMEM;
    case Code::kCancelled: return EINTR;
    case Code::kTimeout:  // a reader cannot do more with ETIMEDOUT than with EIO; the log keeps the
                          // cause
    case Code::kIo:
    case Code::kInternal:
    case Code::kCorruptIndex:
    case Code::kCorruptData:
    case Code::kBlockLost:
    case Code::kPeerUnreachable:
    case Code::kProtocol:
    case Code::kVersion:
    case Code::kWrongPeer:
    case Code::kMount: return EIO;
  }
  return EIO;
}

Error Error::with_context(std::string_view what) && {
  message = std::string(what) + ": " + message;
  return std::move(*this);
}

Error make_error(Code code, std::string message) { return Error{code, 0, std::move(message)}; }

Error errno_error(std::string_view what, int saved_errno) {
  Code code = Code::kIo;
  if (saved_errno == ENOENT || saved_errno == ESTALE) code = Code::kNotFound;
  if (saved_errno == EEXIST) code = Code::kExists;
  // strerrordesc_np is thread-safe and gives the untranslated text, which is what people search
  // for.
  const char* text = strerrordesc_np(saved_errno);
  return Error{code, saved_errno,
               std::string(what) + ": " + (text != nullptr ? text : "unknown error")};
}

}  // namespace shufflefs
