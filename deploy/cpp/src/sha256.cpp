#include "sha256.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <vector>

#include "error.hpp"

namespace rtseg {
namespace {

using Word = std::uint32_t;

Word rotate(Word x, int n) {
  return (x >> n) | (x << (32 - n));
}

/// The standard's constants: the first 32 bits of the fractional parts of the cube roots of the first 64 primes.
std::array<Word, 64> round_constants() {
  std::array<Word, 64> constants{};
  std::size_t found = 0;
  for (int n = 2; found < constants.size(); ++n) {
    bool prime = true;
    for (int d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
    if (!prime) continue;
    const long double root = std::cbrt(static_cast<long double>(n));
    constants[found++] = static_cast<Word>((root - std::floor(root)) * 4294967296.0L);
  }
  return constants;
}

using State = std::array<Word, 8>;

/// Mix one block of 64 bytes into the state.
void mix(State& state, const unsigned char* block) {
  static const std::array<Word, 64> constants = round_constants();
  std::array<Word, 64> w{};
  for (int i = 0; i < 16; ++i)
    w[i] = Word{block[4 * i]} << 24 | Word{block[4 * i + 1]} << 16 | Word{block[4 * i + 2]} << 8 | block[4 * i + 3];
  for (int i = 16; i < 64; ++i) {
    const Word s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
    const Word s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (int i = 0; i < 64; ++i) {
    const Word s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const Word t1 = h + s1 + ((e & f) ^ (~e & g)) + constants[i] + w[i];
    const Word s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const Word t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const State mixed{a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; ++i) state[i] += mixed[i];
}

}  // namespace

std::string sha256(std::istream& stream) {
  State state{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::vector<unsigned char> buffer(1 << 20);
  std::uint64_t length = 0;
  std::size_t count = 0;
  do {
    stream.read(reinterpret_cast<char*>(buffer.data()), static_cast<std::streamsize>(buffer.size()));
    count = static_cast<std::size_t>(stream.gcount());
    length += count;
    if (count == buffer.size())
      for (std::size_t i = 0; i < count; i += 64) mix(state, &buffer[i]);
  } while (count == buffer.size());
  // The last, incomplete buffer: a one bit, zeros up to a whole block less 8 bytes, and the length in bits.
  buffer.resize(count);
  buffer.push_back(0x80);
  while (buffer.size() % 64 != 56) buffer.push_back(0);
  for (int shift = 56; shift >= 0; shift -= 8) buffer.push_back(static_cast<unsigned char>((8 * length) >> shift));
  for (std::size_t i = 0; i < buffer.size(); i += 64) mix(state, &buffer[i]);

  std::string text;
  for (Word word : state)
    for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
  return text;
}

std::string file_sha256(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError("cannot read " + path + "; check that it exists and is readable");
  return sha256(file);
}

}  // namespace rtseg
