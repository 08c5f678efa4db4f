#include "worldmodel/predictor.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sessions.hpp"

namespace worldmodel {

namespace {

/// Latents after `step`, from the source and all velocities so far: the formula in `manifest.hpp`.
/// Each product is rounded to float32 before it is added, as numpy does; the library is compiled
/// without fused multiply-add for that.
Latents combined(const Latents &source, const std::vector<Latents> &velocities,
                 const Schedule &schedule, std::size_t step) {
  Latents latents = source;
  const float of_source = static_cast<float>(schedule.source[step]);
  for (float &value : latents.values)
    value = of_source * value;
  for (std::size_t earlier = 0; earlier <= step; ++earlier) {
    const float coefficient = static_cast<float>(schedule.velocity[step][earlier]);
    const std::vector<float> &velocity = velocities[earlier].values;
    for (std::size_t place = 0; place < velocity.size(); ++place)
      latents.values[place] += coefficient * velocity[place];
  }
  return latents;
}

void check_finite(const Latents &latents, const std::string &precision) {
  const auto &values = latents.values;
  if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }))
    throw InputError("the " + precision +
                     " step left the range of its numbers; export with another precision");
}

} // namespace

Predictor::Predictor(const std::filesystem::path &folder, const Options &options)
    : Predictor(Artifact::open(folder, options.prompt_sha256), options) {}

Predictor::Predictor(Artifact artifact, const Options &options)
    : artifact_(std::move(artifact)),
      sessions_(std::make_unique<Sessions>(artifact_, options.threads)) {}

Predictor::Predictor(Predictor &&) noexcept = default;
Predictor &Predictor::operator=(Predictor &&) noexcept = default;
Predictor::~Predictor() = default;

Video Predictor::predict(const Video &video, std::optional<std::int64_t> steps) {
  return rollout(video, 1, Feed::frames, steps);
}

Video Predictor::rollout(const Video &video, std::int64_t chunks, Feed feed,
                         std::optional<std::int64_t> steps) {
  if (chunks < 1)
    throw InputError("chunks=" + std::to_string(chunks) + ": use at least 1");
  artifact_.check_video("uint8", video.shape);
  const Schedule &schedule = artifact_.manifest.schedule(steps);
  Latents latents = encode(video);
  std::vector<Video> predicted;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    if (chunk > 0 && feed == Feed::frames)
      latents = encode(predicted.back());
    latents = integrate(latents, schedule);
    predicted.push_back(decode(latents));
  }
  return joined(predicted);
}

Latents Predictor::encode(const Video &video) {
  std::vector<Ort::Value> values;
  values.push_back(borrowed(video));
  return taken<float>(sessions_->run("encoder", {"video"}, values).at(0), "encoder");
}

Latents Predictor::velocity(const Latents &latents, float sigma) {
  const Tensor<float> noise{{1}, {sigma}};
  std::vector<Ort::Value> values;
  values.push_back(borrowed(latents));
  values.push_back(borrowed(noise));
  Latents found = taken<float>(sessions_->run("step", {"latents", "sigma"}, values).at(0), "step");
  if (found.shape != latents.shape)
    throw InputError("step: gave velocities " + shown(found.shape) + " for latents " +
                     shown(latents.shape) + "; export the artifact again");
  return found;
}

Latents Predictor::integrate(const Latents &source, const Schedule &schedule) {
  Latents latents = source;
  std::vector<Latents> velocities;
  for (std::size_t step = 0; step < schedule.sigmas.size(); ++step) {
    velocities.push_back(velocity(latents, static_cast<float>(schedule.sigmas[step])));
    latents = combined(source, velocities, schedule, step);
  }
  check_finite(latents, artifact_.manifest.precision.step);
  return latents;
}

Video Predictor::decode(const Latents &latents) {
  if (artifact_.manifest.streams())
    return streamed(latents);
  std::vector<Ort::Value> values;
  values.push_back(borrowed(latents));
  return taken<std::uint8_t>(sessions_->run("decoder", {"latents"}, values).at(0), "decoder");
}

Video Predictor::streamed(const Latents &latents) {
  std::vector<std::string> inputs;
  for (const Port &port : artifact_.manifest.parts.at("decoder_next").inputs)
    inputs.push_back(port.name); // latents, then what is remembered
  std::vector<Video> pieces;
  std::vector<Ort::Value> values(1); // the memory stays ONNX Runtime's own from call to call
  for (std::int64_t place = 0; place < latents.shape.at(2); ++place) {
    const std::string part = place ? "decoder_next" : "decoder_first";
    const Latents frame = latent_frame(latents, place);
    values[0] = borrowed(frame);
    const std::vector<std::string> given(inputs.begin(),
                                         inputs.begin() + static_cast<long>(values.size()));
    values = sessions_->run(part, given, values);
    pieces.push_back(taken<std::uint8_t>(values.at(0), part));
  }
  return joined(pieces);
}

SelfTestResult Predictor::self_test() {
  const auto &noted = artifact_.manifest.self_test;
  if (!noted)
    throw InputError(artifact_.folder.string() + ": holds no self-test; export the artifact again");
  const Video observed = observed_frames(noted->seed, artifact_.manifest.video_shape());
  return compare(predict(observed, noted->steps), *noted);
}

const std::map<std::string, std::int64_t> &Predictor::calls() const { return sessions_->calls; }

const std::map<std::string, double> &Predictor::seconds() const { return sessions_->seconds; }

void Predictor::restart_counts() {
  sessions_->calls.clear();
  sessions_->seconds.clear();
}

} // namespace worldmodel
