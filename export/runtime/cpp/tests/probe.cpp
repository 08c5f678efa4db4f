// What tests/export/runtime/test_cpp.py asks of the library and the program does not show:
//
//     probe frames SEED out.npy B F H W 3   writes the self-test's frames, prints their thumbnail
//     probe takes ARTIFACT sizes...         refuses a video of this shape, or not

#include <cstdio>
#include <iostream>

#include "worldmodel/npy.hpp"
#include "worldmodel/predictor.hpp"

int main(int count, char **words) try {
  const bool takes = std::string(words[1]) == "takes";
  worldmodel::Shape shape;
  for (int place = takes ? 3 : 4; place < count; ++place)
    shape.push_back(std::stoll(words[place]));
  if (takes) {
    worldmodel::Artifact::open(words[2]).check_video("uint8", shape);
  } else {
    const worldmodel::Video video = worldmodel::observed_frames(std::stoll(words[2]), shape);
    worldmodel::write_video(words[3], video);
    for (const double mean : worldmodel::thumbnail(video))
      std::printf("%.17g\n", mean);
  }
} catch (const worldmodel::InputError &error) {
  std::cerr << error.what() << "\n";
  return 2;
}
