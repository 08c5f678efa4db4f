// worldmodel-run: an artifact on frames, without Python. The same words, keys and JSON line as
// `worldmodel export run`, where both have them.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <new>

#include <nlohmann/json.hpp>

#include "arguments.hpp"
#include "worldmodel/npy.hpp"

namespace {

using namespace worldmodel;
using OrderedJson = nlohmann::ordered_json;

constexpr int REFUSED = 2;

/// What can be refused before anything is loaded.
Artifact checked(const Arguments &told) {
  const std::string out = told.future.string();
  if (told.future.extension() != ".npy")
    throw InputError("out=" + out + ": give a name ending in .npy");
  if (std::filesystem::exists(told.future))
    throw InputError("out=" + out + ": exists already; choose another name");
  const auto folder = told.future.parent_path();
  if (std::filesystem::exists(folder) && !std::filesystem::is_directory(folder))
    throw InputError(folder.string() + ": is no folder; give one that can be written");
  Artifact artifact = Artifact::open(told.artifact, told.options.prompt_sha256);
  artifact.manifest.schedule(told.steps);
  const NpyHeader header = read_npy_header(told.observed);
  artifact.check_video(header.dtype, header.shape, told.observed.string());
  return artifact;
}

/// The self-test's result; `InputError` where this machine computes something else.
OrderedJson self_tested(Predictor &predictor) {
  const SelfTestResult result = predictor.self_test();
  if (!result.passed)
    throw InputError(predictor.artifact().folder.string() +
                     ": the self-test fails here, blocks differ by up to " +
                     OrderedJson(result.difference).dump() +
                     " of 255; use another machine or precision, or export the artifact again");
  return {{"exact", result.exact}, {"difference", result.difference}, {"passed", result.passed}};
}

OrderedJson said(const Arguments &told, const Predictor &predictor, const Shape &predicted) {
  const Manifest &manifest = predictor.artifact().manifest;
  OrderedJson calls = OrderedJson::object(), seconds = OrderedJson::object();
  for (const std::string &part : predictor.artifact().parts())
    if (const auto found = predictor.calls().find(part); found != predictor.calls().end()) {
      calls[part] = found->second;
      seconds[part] = std::round(predictor.seconds().at(part) * 1e4) / 1e4;
    }
  const Precision &precision = manifest.precision;
  const double video_seconds = static_cast<double>(predicted[1]) / manifest.frame_rate;
  return {
      {"out", told.future.string()},
      {"artifact", told.artifact.string()},
      {"checkpoint", manifest.checkpoint.name},
      {"backend", "onnxruntime"},
      {"precision",
       {{"encoder", precision.encoder}, {"step", precision.step}, {"decoder", precision.decoder}}},
      {"cameras", predicted[0]},
      {"frames", predicted[1]},
      {"size", {predicted[2], predicted[3]}},
      {"steps", told.steps.value_or(manifest.default_steps)},
      {"chunks", told.chunks},
      {"feed", told.feed},
      {"calls", calls},
      {"seconds", seconds},
      {"video_seconds", std::round(video_seconds * 1e3) / 1e3},
      {"versions", {{"onnxruntime", onnxruntime_version()}}}};
}

void print_table(const OrderedJson &result) {
  double total = 0;
  std::printf("%-14s%6s%10s\n", "part", "calls", "seconds");
  for (const auto &[part, seconds] : result["seconds"].items()) {
    const auto calls = result["calls"][part].get<long long>();
    std::printf("%-14s%6lld%10.3f\n", part.c_str(), calls, seconds.get<double>());
    total += seconds.get<double>();
  }
  const double video_seconds = result["video_seconds"];
  std::printf("%-14s%6s%10.3f   for %g s of video\n", "all", "", total, video_seconds);
}

void run(const Arguments &told) {
  Predictor predictor(checked(told), told.options);
  OrderedJson tested;
  if (told.self_test)
    tested = self_tested(predictor);
  predictor.restart_counts();
  const Video observed = read_video(told.observed);
  const Video predicted = predictor.rollout(observed, told.chunks, told.fed(), told.steps);
  write_video(told.future, predicted);
  OrderedJson result = said(told, predictor, predicted.shape);
  if (told.self_test)
    result["self_test"] = tested;
  print_table(result);
  std::puts(result.dump().c_str());
}

/// One line on stderr, whatever names a manifest or a folder holds.
int refused(std::string message) {
  std::replace_if(
      message.begin(), message.end(), [](unsigned char letter) { return letter < ' '; }, ' ');
  std::cerr << "error: " << message << "\n";
  return REFUSED;
}

} // namespace

int main(int count, char **words) {
  const std::vector<std::string> told(words + 1, words + count);
  try {
    if (!told.empty() && (told[0] == "--help" || told[0] == "-h"))
      std::fputs(USAGE, stdout);
    else
      run(Arguments::from(told));
    return 0;
  } catch (const InputError &error) {
    return refused(error.what());
  } catch (const std::filesystem::filesystem_error &error) {
    return refused(error.what());
  } catch (const std::bad_alloc &) {
    return refused("no memory left; predict fewer chunks or cameras at once");
  }
}
