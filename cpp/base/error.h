// Exceptions of the engine and the checks that raise them; the text is built only on failure.
#pragma once

#include <exception>
#include <sstream>
#include <string>
#include <utility>

namespace fireseed {

// The Python exception type that an Error becomes.
enum class ErrorKind : unsigned char { kRuntime, kValue, kType, kIndex, kNotImplemented, kMemory };

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
  std::string message_;
};

namespace detail {
template <class... Args>
[[noreturn, gnu::cold, gnu::noinline]] void throw_error(ErrorKind kind, const Args&... args) {
  std::ostringstream text;
  (text << ... << args);
  throw Error(kind, text.str());
}
}  // namespace detail

// Throws `kind` with the concatenation of the arguments, e.g. fail(ErrorKind::kValue, "add: got ", n).
template <class... Args>
[[noreturn, gnu::cold]] void fail(ErrorKind kind, const Args&... args) {
  detail::throw_error(kind, args...);
}

// FS_CHECK(condition, parts...): RuntimeError; the other kinds are named.
#define FS_CHECK_KIND(cond, kind, ...) \
  (__builtin_expect(static_cast<bool>(cond), 1) ? void(0) : ::fireseed::fail(kind, __VA_ARGS__))
#define FS_CHECK(cond, ...) FS_CHECK_KIND(cond, ::fireseed::ErrorKind::kRuntime, __VA_ARGS__)
#define FS_CHECK_VALUE(cond, ...) FS_CHECK_KIND(cond, ::fireseed::ErrorKind::kValue, __VA_ARGS__)
#define FS_CHECK_TYPE(cond, ...) FS_CHECK_KIND(cond, ::fireseed::ErrorKind::kType, __VA_ARGS__)
#define FS_CHECK_INDEX(cond, ...) FS_CHECK_KIND(cond, ::fireseed::ErrorKind::kIndex, __VA_ARGS__)

}  // namespace fireseed
