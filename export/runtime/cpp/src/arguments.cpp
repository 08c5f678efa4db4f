#include "arguments.hpp"

#include <charconv>
#include <limits>
#include <set>

#include "worldmodel/error.hpp"

namespace worldmodel {

const char *const USAGE =
    "worldmodel-run ARTIFACT observed.npy future.npy [key=value ...]\n"
    "\n"
    "ARTIFACT      folder that `worldmodel export` wrote\n"
    "observed.npy  what the cameras saw, uint8 [B, F, H, W, 3] (cameras, frames, height, width, "
    "RGB)\n"
    "future.npy    where the prediction is to be written, uint8 [B, chunks * F, H, W, 3]\n"
    "\n"
    "steps=5          one of the artifact's schedules; by default its own\n"
    "chunks=1         how many times the prediction goes on, each time from its own\n"
    "feed=frames      what the next chunk starts from; latents: the encoder runs once\n"
    "threads=4        of ONNX Runtime; by default one a core\n"
    "self_test=false  first predict what the artifact predicted where it was made\n"
    "prompt_sha256=   the prompt that must be baked in; by default any\n";

namespace {

std::int64_t whole_number(const std::string &key, const std::string &value) {
  std::int64_t number = 0;
  const char *end = value.data() + value.size();
  const auto read = std::from_chars(value.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end)
    throw InputError(key + "=" + value + ": give a whole number");
  return number;
}

std::int64_t at_least_one(const std::string &key, const std::string &value) {
  const std::int64_t number = whole_number(key, value);
  if (number < 1 || number > std::numeric_limits<int>::max())
    throw InputError(key + "=" + value + ": use at least 1" +
                     (key == "threads" ? ", or leave it out" : ""));
  return number;
}

void take(Arguments &told, const std::string &key, const std::string &value) {
  if (key == "steps")
    told.steps = whole_number(key, value);
  else if (key == "chunks")
    told.chunks = at_least_one(key, value);
  else if (key == "feed" && (value == "frames" || value == "latents"))
    told.feed = value;
  else if (key == "feed")
    throw InputError("feed=" + value + ": use frames or latents");
  else if (key == "threads")
    told.options.threads = static_cast<int>(at_least_one(key, value));
  else if (key == "self_test" && (value == "true" || value == "false"))
    told.self_test = value == "true";
  else if (key == "self_test")
    throw InputError("self_test=" + value + ": use true or false");
  else if (key == "prompt_sha256")
    told.options.prompt_sha256 = value;
  else
    throw InputError(key + "=" + value +
                     ": no such key; use steps, chunks, feed, threads, self_test or prompt_sha256");
}

} // namespace

Arguments Arguments::from(const std::vector<std::string> &words) {
  if (words.size() < 3)
    throw InputError("too few words; give ARTIFACT observed.npy future.npy (--help says more)");
  Arguments told;
  told.artifact = words[0];
  told.observed = words[1];
  told.future = words[2];
  std::set<std::string> seen;
  for (auto word = words.begin() + 3; word != words.end(); ++word) {
    const std::size_t sign = word->find('=');
    if (sign == std::string::npos)
      throw InputError(*word + ": give key=value after the three paths (--help says more)");
    const std::string key = word->substr(0, sign);
    if (!seen.insert(key).second)
      throw InputError(key + ": given twice; say it once");
    take(told, key, word->substr(sign + 1));
  }
  return told;
}

} // namespace worldmodel
