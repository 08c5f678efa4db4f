/// sha256 in hexadecimal, by OpenSSL.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace worldmodel {

std::string sha256_of(const void *bytes, std::size_t count);
std::string sha256_of_file(const std::filesystem::path &path);

} // namespace worldmodel
