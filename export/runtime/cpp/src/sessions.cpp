#include "sessions.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <set>
#include <sstream>

#include "worldmodel/error.hpp"
#include "worldmodel/predictor.hpp"

namespace worldmodel {

namespace {

/// A message of ONNX Runtime on one line, not too long, in ASCII: it may repeat bytes of a graph.
std::string said(const Ort::Exception &error) {
  std::istringstream words(error.what());
  std::string text;
  for (std::string word; words >> word;)
    text += (text.empty() ? "" : " ") + word;
  std::replace_if(
      text.begin(), text.end(), [](char letter) { return letter < ' ' || letter > '~'; }, '?');
  return "(" + text.substr(0, 200) + ")";
}

/// The library may be another than the headers: a newer one is fine, an older one is not.
void load_interface() {
  const std::string version = onnxruntime_version();
  const std::size_t dot = version.find('.');
  const int offered = dot == std::string::npos ? 0 : std::atoi(version.c_str() + dot + 1);
  const OrtApi *interface =
      offered < ORT_API_VERSION ? nullptr : OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (!interface)
    throw InputError("ONNX Runtime " + version + ": older than 1." +
                     std::to_string(ORT_API_VERSION) +
                     ", whose headers this program was built with; install a newer one, or build"
                     " with the headers of this one");
  Ort::InitApi(interface);
}

Ort::Env quiet_environment() {
  load_interface();
  return Ort::Env(ORT_LOGGING_LEVEL_FATAL, "worldmodel"); // errors are thrown and said once
}

std::vector<std::string> names(const std::vector<Port> &ports) {
  std::vector<std::string> found;
  for (const Port &port : ports)
    found.push_back(port.name);
  return found;
}

std::vector<const char *> pointers(const std::vector<std::string> &texts) {
  std::vector<const char *> found;
  for (const std::string &text : texts)
    found.push_back(text.c_str());
  return found;
}

void check_names(const std::filesystem::path &path, std::set<std::string> found,
                 const std::vector<Port> &ports, const std::string &kind) {
  for (const Port &port : ports)
    if (!found.erase(port.name))
      throw InputError(path.string() + ": has no " + kind + " " + port.name +
                       ", which its manifest names; export the artifact again");
  if (kind == "input" && !found.empty())
    throw InputError(path.string() + ": wants " + *found.begin() +
                     ", which its manifest does not name; export the artifact again");
}

void check_session(const std::filesystem::path &path, const Ort::Session &session,
                   const Part &part) {
  Ort::AllocatorWithDefaultOptions allocator;
  std::set<std::string> inputs, outputs;
  for (std::size_t place = 0; place < session.GetInputCount(); ++place)
    inputs.insert(session.GetInputNameAllocated(place, allocator).get());
  for (std::size_t place = 0; place < session.GetOutputCount(); ++place)
    outputs.insert(session.GetOutputNameAllocated(place, allocator).get());
  check_names(path, inputs, part.inputs, "input");
  check_names(path, outputs, part.outputs, "output");
}

/// An ONNX graph: int32 c [1, 1] = uint8 a [1, 2] times int8 b [2, 1], which holds 127 twice; as in
/// sessions.py.
constexpr char PRODUCT[] =
    "\x08\x05\x12\x00:V\n\x18\n\x01"
    "a\n\x01"
    "b\x12\x01"
    "c\"\rMatMulInteger\x12\x01g*\r\x08\x02\x08\x01\x10\x03"
    "B\x01"
    "bJ\x02\x7f\x7fZ\x13\n\x01"
    "a\x12\x0e\n\x0c\x08\x02\x12\x08\n\x02\x08\x01\n\x02\x08\x02"
    "b\x13\n\x01"
    "c\x12\x0e\n\x0c\x08\x06\x12\x08\n\x02\x08\x01\n\x02\x08\x01"
    "B\x04\n\x00\x10\n";

/// Whether a session with these options loses 255 * 127 + 255 * 127 in 16 bits; asked in a
/// millisecond.
bool products_saturate(Ort::Env &environment, const Ort::SessionOptions &options) {
  Ort::Session session(environment, PRODUCT, sizeof PRODUCT - 1, options);
  std::uint8_t largest[] = {255, 255};
  const std::int64_t shape[] = {1, 2};
  const char *const input = "a", *const output = "c";
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto value = Ort::Value::CreateTensor<std::uint8_t>(memory, largest, 2, shape, 2);
  const auto found = session.Run(Ort::RunOptions(), &input, &value, 1, &output, 1);
  return found.at(0).GetTensorData<std::int32_t>()[0] != 2 * 255 * 127;
}

} // namespace

Sessions::Sessions(const Artifact &artifact, int threads) : env_(quiet_environment()) {
  if (threads < 0)
    throw InputError("threads=" + std::to_string(threads) + ": use at least 1, or leave it out");
  options_.SetLogSeverityLevel(ORT_LOGGING_LEVEL_FATAL);
  options_.SetIntraOpNumThreads(threads);
  make_exact();
  if (artifact.manifest.precision.step == "int8" && products_saturate(env_, options_))
    throw InputError("precision=int8: ONNX Runtime " + onnxruntime_version() +
                     " adds products of 8 bits wrongly on this processor (they saturate in 16"
                     " bits); install a newer one, or export with precision=fp16");
  for (const auto &[name, path] : artifact.onnx_files()) {
    const Part &part = artifact.manifest.parts.at(name);
    sessions_.emplace(name, opened(path, part));
    outputs_[name] = names(part.outputs);
  }
}

void Sessions::make_exact() {
  if (products_saturate(env_, options_))
    options_.AddConfigEntry("session.x64quantprecision", "1");
}

Ort::Session Sessions::opened(const std::filesystem::path &path, const Part &part) {
  try {
    Ort::Session session(env_, path.c_str(), options_);
    check_session(path, session, part);
    return session;
  } catch (const Ort::Exception &error) {
    throw InputError(path.string() + ": ONNX Runtime " + onnxruntime_version() +
                     " on cpu cannot load it " + said(error) + "; export with precision=fp16");
  }
}

std::vector<Ort::Value> Sessions::run(const std::string &part,
                                      const std::vector<std::string> &inputs,
                                      const std::vector<Ort::Value> &values) {
  const std::vector<const char *> given = pointers(inputs), wanted = pointers(outputs_.at(part));
  const auto begun = std::chrono::steady_clock::now();
  try {
    auto outputs = sessions_.at(part).Run(Ort::RunOptions(), given.data(), values.data(),
                                          values.size(), wanted.data(), wanted.size());
    seconds[part] +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    ++calls[part];
    return outputs;
  } catch (const Ort::Exception &error) {
    throw InputError(part + ": ONNX Runtime " + onnxruntime_version() + " cannot run it " +
                     said(error) + "; give frames of another size, or export the artifact again");
  }
}

template <class Value> Tensor<Value> taken(const Ort::Value &output, const std::string &part) {
  const auto info = output.GetTensorTypeAndShapeInfo();
  const auto type = info.GetElementType();
  Shape shape = info.GetShape();
  if (type != Ort::TypeToTensorType<Value>::type || shape.size() != 5)
    throw InputError(part + ": gave a tensor of type " + std::to_string(type) + " and shape " +
                     shown(shape) +
                     " where its manifest says otherwise; export the artifact again");
  const Value *first = output.GetTensorData<Value>();
  return {shape, std::vector<Value>(first, first + elements(shape))};
}

template Video taken<std::uint8_t>(const Ort::Value &, const std::string &);
template Latents taken<float>(const Ort::Value &, const std::string &);

std::string onnxruntime_version() { return OrtGetApiBase()->GetVersionString(); }

} // namespace worldmodel
