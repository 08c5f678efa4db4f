#include "json_values.hpp"

#include <algorithm>
#include <limits>

namespace worldmodel {

void refuse(const Json &value, const std::string &key, const std::string &wanted) {
  std::string shown = value.dump(-1, ' ', true); // ASCII alone, so that cutting splits no letter
  if (shown.size() > 40)
    shown = shown.substr(0, 37) + "...";
  throw Misfit((key.empty() ? "its content" : key) + " is " + shown + ", not " + wanted);
}

std::string below(const std::string &key, const std::string &name) {
  return key.empty() ? name : key + "." + name;
}

std::int64_t whole(const Json &value, const std::string &key) {
  const bool too_large = value.is_number_unsigned() &&
                         value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max();
  if (!value.is_number_integer() || too_large)
    refuse(value, key, "a whole number");
  return value.get<std::int64_t>();
}

std::int64_t size(const Json &value, const std::string &key) {
  const std::int64_t found = whole(value, key);
  if (found < 1 || found > std::numeric_limits<std::int32_t>::max())
    refuse(value, key, "a size");
  return found;
}

double number(const Json &value, const std::string &key) {
  if (!value.is_number())
    refuse(value, key, "a number");
  return value.get<double>();
}

bool truth(const Json &value, const std::string &key) {
  if (!value.is_boolean())
    refuse(value, key, "true or false");
  return value.get<bool>();
}

std::string text(const Json &value, const std::string &key) {
  if (!value.is_string())
    refuse(value, key, "text");
  return value.get<std::string>();
}

Object::Object(const Json &value, std::string key, std::initializer_list<const char *> names)
    : value_(value), key_(std::move(key)) {
  if (!value.is_object())
    refuse(value, key_, "an object with keys");
  for (const auto &[name, one] : value.items())
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw Misfit("unknown key '" + below(key_, name) + "'");
  for (const char *name : names)
    if (!value.contains(name))
      throw Misfit("key '" + below(key_, name) + "' is missing");
}

} // namespace worldmodel
