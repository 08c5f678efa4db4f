/// ONNX Runtime on the CPU: one session a part.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <onnxruntime_cxx_api.h>

#include "worldmodel/artifact.hpp"
#include "worldmodel/error.hpp"

namespace worldmodel {

class Sessions {
public:
  /// Check and load every part; `InputError` where ONNX Runtime cannot.
  Sessions(const Artifact &artifact, int threads);

  /// The part's outputs in the manifest's order.
  std::vector<Ort::Value> run(const std::string &part, const std::vector<std::string> &inputs,
                              const std::vector<Ort::Value> &values);

  std::map<std::string, std::int64_t> calls;
  std::map<std::string, double> seconds;

private:
  /// x86-64 without VNNI adds products of 8 bits in 16, which saturate: take kernels that add in
  /// 32. They are slower, so that the processor is asked first.
  void make_exact();
  Ort::Session opened(const std::filesystem::path &path, const Part &part);

  Ort::Env env_;
  Ort::SessionOptions options_;
  std::map<std::string, std::vector<std::string>> outputs_;
  std::map<std::string, Ort::Session> sessions_;
};

/// A value that lies in the tensor's own memory, which must stay; `InputError` where it is not
/// full.
template <class Value> Ort::Value borrowed(const Tensor<Value> &tensor) {
  const std::vector<Value> &values = tensor.values;
  if (values.size() != elements(tensor.shape))
    throw InputError(std::to_string(values.size()) + " values do not fill a tensor of " +
                     shown(tensor.shape) + "; give all of them");
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  // ONNX Runtime takes inputs as mutable and does not write to them
  return Ort::Value::CreateTensor<Value>(memory, const_cast<Value *>(values.data()), values.size(),
                                         tensor.shape.data(), tensor.shape.size());
}

/// A copy of an output of five axes; `InputError` where it is of another type or shape.
template <class Value> Tensor<Value> taken(const Ort::Value &output, const std::string &part);

} // namespace worldmodel
