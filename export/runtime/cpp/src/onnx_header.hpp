/// The opset that an ONNX file asks for.
#pragma once

#include <cstdint>
#include <filesystem>

namespace worldmodel {

/// Version of the default operator set; `InputError`: no ONNX model, or it names none.
std::int64_t opset_of(const std::filesystem::path &path);

} // namespace worldmodel
