/// JSON to plain values, strictly: no key too many or too few, no value of another type.
///
/// A reader is called with a value and the key it lies at, which its message names.
#pragma once

#include <initializer_list>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace worldmodel {

using Json = nlohmann::json;

/// A value that is not what its key says, in words.
class Misfit : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

[[noreturn]] void refuse(const Json &value, const std::string &key, const std::string &wanted);
std::string below(const std::string &key, const std::string &name);

std::int64_t whole(const Json &value, const std::string &key);
std::int64_t size(const Json &value, const std::string &key); ///< whole, from 1 to 2147483647
double number(const Json &value, const std::string &key);
bool truth(const Json &value, const std::string &key);
std::string text(const Json &value, const std::string &key);

/// Reader of a text that is one of these.
inline auto one_of(std::initializer_list<const char *> choices) {
  return [choices = std::vector<std::string>(choices.begin(), choices.end())](
             const Json &value, const std::string &key) {
    std::string offered;
    for (const std::string &choice : choices) {
      if (value == choice)
        return choice;
      offered += (offered.empty() ? "" : ", ") + choice;
    }
    refuse(value, key, "one of " + offered);
  };
}

/// Reader of a list whose values this one reads.
template <class Read> auto listed(Read read) {
  return [read](const Json &value, const std::string &key) {
    if (!value.is_array())
      refuse(value, key, "a list");
    std::vector<decltype(read(value, key))> found;
    for (const Json &one : value)
      found.push_back(read(one, key + "[" + std::to_string(found.size()) + "]"));
    return found;
  };
}

/// Reader of an object with any keys, whose values this one reads.
template <class Read> auto named(Read read) {
  return [read](const Json &value, const std::string &key) {
    if (!value.is_object())
      refuse(value, key, "an object with keys");
    std::map<std::string, decltype(read(value, key))> found;
    for (const auto &[name, one] : value.items())
      found.emplace(name, read(one, below(key, name)));
    return found;
  };
}

/// An object with these keys and no other.
class Object {
public:
  Object(const Json &value, std::string key, std::initializer_list<const char *> names);

  template <class Read> auto read(const char *name, Read reader) const {
    return reader(value_.at(name), below(key_, name));
  }

private:
  const Json &value_;
  std::string key_;
};

} // namespace worldmodel
