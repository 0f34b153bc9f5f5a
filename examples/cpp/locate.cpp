// Where were these photographs taken? Adds photographs to an index and asks it, from several threads.
//
//   locate INDEX PHOTO...                       asks
//   locate INDEX --sequence PHOTO...            follows a camera: each photograph with those before it
//   locate INDEX --add NAME LAT LON PHOTO       adds one under a name; INDEX is made if it is not there
//
// docs/c.md says how it is compiled.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "r2former.h"

namespace {

/// An open index, closed at the end of its scope.
using Index = std::unique_ptr<r2former_index, decltype(&r2former_close)>;
/// Frames in order, ended at the end of its scope.
using Sequence = std::unique_ptr<r2former_sequence, decltype(&r2former_sequence_end)>;
/// A document, freed at the end of its scope.
using Document = std::unique_ptr<char, decltype(&r2former_free)>;

std::runtime_error failed() { return std::runtime_error(r2former_last_error()); }

Document document(char *text) {
  if (text == nullptr) throw failed();
  return Document(text, &r2former_free);
}

Index open_or_create(const std::string &path, bool create) {
  Index index(r2former_open(path.c_str(), nullptr), &r2former_close);
  if (!index && create && r2former_error_kind() == R2FORMER_NOT_FOUND)
    index.reset(r2former_create(path.c_str(), nullptr, nullptr));
  if (!index) throw failed();
  return index;
}

std::vector<unsigned char> read(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  return std::vector<unsigned char>(std::istreambuf_iterator<char>(file), {});
}

std::string answer(const r2former_index *index, const std::string &photo) {
  try {
    const auto bytes = read(photo);
    const auto json = document(r2former_locate(index, bytes.data(), bytes.size(), R"({"top": 3})"));
    r2former_fix fix;
    if (!r2former_fix_of(json.get(), &fix)) throw failed();
    if (fix.status == R2FORMER_UNREADABLE) return photo + ": not a photograph";
    if (std::isnan(fix.latitude)) return photo + ": no match";
    char line[160];
    std::snprintf(line, sizeof line, ": at %.6f, %.6f (%u of %u matches agree, spread %.0f m)", fix.latitude,
                  fix.longitude, fix.agreeing, fix.considered, fix.spread_m);
    return photo + line;
  } catch (const std::exception &error) {
    return photo + ": " + error.what();
  }
}

/// Prints where each frame was, as it was known at the time; then the most probable way through all of them.
void follow(const r2former_index *index, const std::vector<std::string> &photos) {
  const Sequence sequence(r2former_sequence_begin(index, R"({"top": 1})"), &r2former_sequence_end);
  if (!sequence) throw failed();
  for (const auto &photo : photos) {
    const auto bytes = read(photo);
    // Its EXIF says when it was taken; nobody counted the metres.
    const auto json = document(r2former_sequence_push(sequence.get(), bytes.data(), bytes.size(), NAN, NAN));
    r2former_fix fix;
    if (!r2former_fix_of(json.get(), &fix)) throw failed();
    if (std::isnan(fix.latitude))
      std::printf("%s: not found yet\n", photo.c_str());
    else
      std::printf("%s: at %.6f, %.6f (%.0f %%)\n", photo.c_str(), fix.latitude, fix.longitude, 100 * fix.probability);
  }
  std::printf("%s\n", document(r2former_sequence_track(sequence.get())).get());
}

int run(const std::vector<std::string> &arguments) {
  if (arguments.size() < 2) {
    std::fprintf(stderr,
                 "usage: locate INDEX PHOTO...\n       locate INDEX --sequence PHOTO...\n"
                 "       locate INDEX --add NAME LAT LON PHOTO\n");
    return 2;
  }
  const bool adds = arguments[1] == "--add";
  const Index index = open_or_create(arguments[0], adds);
  if (adds) {
    if (arguments.size() != 6) throw std::runtime_error("--add needs NAME LAT LON PHOTO");
    const auto bytes = read(arguments[5]);
    const std::string fields = "{\"position\": [" + arguments[3] + ", " + arguments[4] + "]}";
    const auto json =
        document(r2former_add(index.get(), arguments[2].c_str(), bytes.data(), bytes.size(), fields.c_str()));
    std::printf("%s\n", json.get());
    return 0;
  }
  if (arguments[1] == "--sequence") {
    follow(index.get(), std::vector<std::string>(arguments.begin() + 2, arguments.end()));
    return 0;
  }
  // One index for all threads.
  std::vector<std::string> lines(arguments.size() - 1);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < lines.size(); ++i)
    threads.emplace_back([&, i] { lines[i] = answer(index.get(), arguments[i + 1]); });
  for (auto &thread : threads) thread.join();
  for (const auto &line : lines) std::printf("%s\n", line.c_str());
  return 0;
}

}  // namespace

int main(int count, char **values) {
  try {
    return run(std::vector<std::string>(values + 1, values + count));
  } catch (const std::exception &error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
