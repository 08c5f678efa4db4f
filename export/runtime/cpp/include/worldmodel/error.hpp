/// The one kind of error that a user is meant to see.
#pragma once

#include <stdexcept>

namespace worldmodel {

/// Something given from outside (a file, a key, frames) cannot be used. The message is one line
/// that names it and the remedy; `worldmodel-run` prints it after `error: ` and exits with
/// status 2.
class InputError : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

} // namespace worldmodel
