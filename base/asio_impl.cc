// The one translation unit that compiles Boost.Asio's and Boost.Beast's non-template code (separate
// compilation keeps the build of all others short).
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
