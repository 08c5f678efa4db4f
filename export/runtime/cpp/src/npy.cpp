#include "worldmodel/npy.hpp"

#include <charconv>
#include <cstdio>
#include <fstream>
#include <map>
#include <random>
#include <regex>

#include <unistd.h>

#include "worldmodel/error.hpp"

namespace worldmodel {

namespace {

const std::string MAGIC = "\x93NUMPY";
constexpr std::size_t LONGEST = 4096; ///< bytes of a header that are looked through
constexpr std::size_t ALIGNED = 64;

[[noreturn]] void refuse(const std::filesystem::path &path, const std::string &problem) {
  throw InputError(path.string() + ": " + problem + "; write it with numpy.save");
}

/// The dictionary in a file's head, and where it ends.
std::string dictionary(const std::filesystem::path &path, std::ifstream &file) {
  std::string head(8, '\0');
  if (!file.read(head.data(), 8) || head.compare(0, MAGIC.size(), MAGIC) != 0)
    refuse(path, "not a .npy file");
  const int version = static_cast<unsigned char>(head[6]);
  const int minor = static_cast<unsigned char>(head[7]);
  if ((version != 1 && version != 2) || minor != 0)
    refuse(path, "of .npy format " + std::to_string(version) + "." + std::to_string(minor) +
                     ", not 1.0 or 2.0");
  std::string length(version == 1 ? 2 : 4, '\0');
  file.read(length.data(), static_cast<std::streamsize>(length.size()));
  std::size_t count = 0;
  for (std::size_t place = length.size(); place-- > 0;)
    count = count << 8 | static_cast<unsigned char>(length[place]);
  if (count > LONGEST)
    refuse(path, "its header is too long");
  std::string text(count, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(count)))
    refuse(path, "cut off");
  return text;
}

Shape shape_of(const std::filesystem::path &path, const std::string &text) {
  const std::regex digits("[0-9]+");
  Shape shape;
  for (std::sregex_iterator size(text.begin(), text.end(), digits), end; size != end; ++size) {
    const std::string one = size->str();
    std::int64_t value = 0;
    if (std::from_chars(one.data(), one.data() + one.size(), value).ec != std::errc())
      refuse(path, "its header is not one of a plain array");
    shape.push_back(value);
  }
  return shape;
}

std::string name_of(const std::string &code) {
  static const std::map<std::string, std::string> names = {
      {"|u1", "uint8"},   {"|i1", "int8"},    {"|b1", "bool"},   {"<f2", "float16"},
      {"<f4", "float32"}, {"<f8", "float64"}, {"<u2", "uint16"}, {"<i2", "int16"},
      {"<u4", "uint32"},  {"<i4", "int32"},   {"<u8", "uint64"}, {"<i8", "int64"}};
  const auto found = names.find(code);
  return found == names.end() ? code : found->second;
}

std::string header_of(const Shape &shape) {
  const std::string inside = shown(shape);
  std::string text = "{'descr': '|u1', 'fortran_order': False, 'shape': (" +
                     inside.substr(1, inside.size() - 2) + "), }";
  const std::size_t before = MAGIC.size() + 4; // two bytes of version, two of length
  text.append(ALIGNED - 1 - (before + text.size()) % ALIGNED, ' ');
  text += '\n';
  const std::string length = {static_cast<char>(text.size() & 255),
                              static_cast<char>(text.size() >> 8)};
  return MAGIC + '\x01' + '\x00' + length + text;
}

/// A name beside `path` that no other process uses; what lies there is removed in the end.
class Partial {
public:
  explicit Partial(const std::filesystem::path &path)
      : path_(path.parent_path() /
              (".partial-" + std::to_string(getpid()) + "-" +
               std::to_string(std::random_device()()) + "-" + path.filename().string())) {}
  Partial(const Partial &) = delete;
  Partial &operator=(const Partial &) = delete;
  ~Partial() { std::remove(path_.c_str()); }

  const std::filesystem::path &path() const { return path_; }

private:
  std::filesystem::path path_;
};

} // namespace

NpyHeader read_npy_header(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  if (!std::filesystem::is_regular_file(path) || !file)
    throw InputError(path.string() + ": no such file; check the path");
  const std::string text = dictionary(path, file);
  const std::regex form(
      "\\{'descr': *'([<>|=a-zA-Z0-9\\[\\]]*)', *'fortran_order': *(True|False), *"
      "'shape': *\\(((?:[0-9]+, ?)*[0-9]*)\\),? *\\}\\s*");
  std::smatch found;
  if (!std::regex_match(text, found, form))
    refuse(path, "its header is not one of a plain array");
  NpyHeader header;
  header.begins = static_cast<std::size_t>(file.tellg());
  header.dtype = name_of(found[1]);
  header.shape = shape_of(path, found[3]);
  if (found[2] == "True")
    throw InputError(path.string() +
                     ": in Fortran order; save numpy.ascontiguousarray of the frames");
  if (header.dtype == "uint8" &&
      std::filesystem::file_size(path) != header.begins + elements(header.shape))
    refuse(path, "cut off or too long for its shape " + shown(header.shape));
  return header;
}

Video read_video(const std::filesystem::path &path) {
  const NpyHeader header = read_npy_header(path);
  if (header.dtype != "uint8")
    throw InputError(path.string() + ": holds " + header.dtype + ", not uint8; save 8-bit frames");
  Video video{header.shape, std::vector<std::uint8_t>(elements(header.shape))};
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(header.begins));
  if (!file.read(reinterpret_cast<char *>(video.values.data()),
                 static_cast<std::streamsize>(video.values.size())))
    refuse(path, "cut off");
  return video;
}

void write_video(const std::filesystem::path &path, const Video &video) {
  std::error_code problem;
  if (path.has_parent_path())
    std::filesystem::create_directories(path.parent_path(), problem);
  const Partial partial(path);
  const std::string header = header_of(video.shape);
  std::ofstream file(partial.path(), std::ios::binary);
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  file.write(reinterpret_cast<const char *>(video.values.data()),
             static_cast<std::streamsize>(video.values.size()));
  file.close();
  if (!file)
    throw InputError(path.string() + ": cannot be written; give a folder with room for it");
  std::filesystem::rename(partial.path(), path, problem);
  if (problem)
    throw InputError(path.string() + ": cannot be written (" + problem.message() +
                     "); choose another name");
}

} // namespace worldmodel
