// An ONNX file is a protobuf message: fields of a number and a wire type, of which only
// `opset_import` is read; the graph, which may be gigabytes, is stepped over. ONNX Runtime does not
// say the opset of a model. Source: the public onnx.proto and protobuf's description of its
// encoding.

#include "onnx_header.hpp"

#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>

#include "worldmodel/error.hpp"

namespace worldmodel {

namespace {

enum { VARINT = 0, EIGHT_BYTES = 1, LENGTH_GIVEN = 2, FOUR_BYTES = 5 };
enum { OPSET_IMPORT = 8, DOMAIN_NAME = 1, VERSION = 2 };

class NoMessage : public std::runtime_error {
public:
  NoMessage() : std::runtime_error("no protobuf message") {}
};

/// Fields one after another.
class Message {
public:
  explicit Message(std::istream &stream) : stream_(stream) {
    stream_.seekg(0, std::ios::end);
    end_ = stream_.tellg();
    stream_.seekg(0);
  }

  /// Go to the next field; false at the end.
  bool next() {
    if (stream_.tellg() == end_)
      return false;
    const std::uint64_t key = varint();
    number = key >> 3;
    wire_type = static_cast<int>(key & 7);
    return true;
  }

  /// Seven bits a byte, the lowest first.
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const int byte = stream_.get();
      if (byte < 0)
        throw NoMessage();
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80)
        return value;
    }
    throw NoMessage();
  }

  std::string bytes() {
    std::string value(static_cast<std::size_t>(length()), '\0');
    stream_.read(value.data(), static_cast<std::streamsize>(value.size()));
    return value;
  }

  void skip() {
    if (wire_type == VARINT)
      varint();
    else
      stream_.seekg(length(), std::ios::cur);
  }

  std::uint64_t number = 0;
  int wire_type = 0;

private:
  /// How many bytes the field has, none of them beyond the end.
  std::streamoff length() {
    std::uint64_t count = wire_type == EIGHT_BYTES ? 8 : 4;
    if (wire_type == LENGTH_GIVEN)
      count = varint();
    else if (wire_type != EIGHT_BYTES && wire_type != FOUR_BYTES)
      throw NoMessage();
    if (count > static_cast<std::uint64_t>(end_ - stream_.tellg()))
      throw NoMessage();
    return static_cast<std::streamoff>(count);
  }

  std::istream &stream_;
  std::istream::pos_type end_;
};

/// The version that an `opset_import` gives, if it is of the default domain.
std::optional<std::int64_t> default_version(const std::string &import) {
  std::istringstream stream(import);
  Message message(stream);
  std::string domain;
  std::optional<std::int64_t> version;
  while (message.next())
    if (message.number == DOMAIN_NAME && message.wire_type == LENGTH_GIVEN)
      domain = message.bytes();
    else if (message.number == VERSION && message.wire_type == VARINT)
      version = static_cast<std::int64_t>(message.varint());
    else
      message.skip();
  return domain.empty() || domain == "ai.onnx" ? version : std::nullopt;
}

} // namespace

std::int64_t opset_of(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  try {
    Message message(file);
    while (message.next())
      if (message.number != OPSET_IMPORT || message.wire_type != LENGTH_GIVEN)
        message.skip();
      else if (const auto version = default_version(message.bytes()))
        return *version;
  } catch (const NoMessage &) { // said below, in a sentence
  }
  throw InputError(path.string() + ": not an ONNX model; export the artifact again");
}

} // namespace worldmodel
