// The one translation unit that compiles the non-template code of Boost.Asio's ssl, which
// base/asio_impl.cc leaves out: base knows nothing of OpenSSL.
#include <boost/asio/ssl/impl/src.hpp>
