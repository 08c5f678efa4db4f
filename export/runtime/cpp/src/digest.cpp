#include "digest.hpp"

#include <fstream>
#include <memory>
#include <stdexcept>
#include <vector>

#include <openssl/evp.h>

#include "worldmodel/error.hpp"

namespace worldmodel {

namespace {

class Sha256 {
public:
  Sha256() { check(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr)); }

  void update(const void *bytes, std::size_t count) {
    check(EVP_DigestUpdate(context_.get(), bytes, count));
  }

  std::string hexadecimal() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    check(EVP_DigestFinal_ex(context_.get(), digest, &length));
    std::string text;
    for (unsigned int place = 0; place < length; ++place)
      for (const int digit : {digest[place] >> 4, digest[place] & 15})
        text += "0123456789abcdef"[digit];
    return text;
  }

private:
  static void check(int done) {
    if (done != 1)
      throw std::runtime_error("OpenSSL cannot compute sha256");
  }

  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX *)> context_{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

} // namespace

std::string sha256_of(const void *bytes, std::size_t count) {
  Sha256 digest;
  digest.update(bytes, count);
  return digest.hexadecimal();
}

std::string sha256_of_file(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> block(std::size_t{1} << 20);
  Sha256 digest;
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0)
    digest.update(block.data(), static_cast<std::size_t>(file.gcount()));
  if (!file.eof())
    throw InputError(path.string() + ": cannot be read; check its permissions and the disk");
  return digest.hexadecimal();
}

} // namespace worldmodel
