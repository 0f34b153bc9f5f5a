// What the node does between two messages, tested without ROS.

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "place_logic.hpp"

#define CHECK(condition)                                                    \
  do {                                                                      \
    if (!(condition)) {                                                     \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                         \
    }                                                                       \
  } while (false)

static bool near(double a, double b) { return std::abs(a - b) < 1e-9 * std::max(1.0, std::abs(b)); }

static r2former_fix fix() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  r2former_fix made{};
  made.status = R2FORMER_ANSWERED;
  made.agreeing = 3;
  made.considered = 10;
  made.latitude = 52.5;
  made.longitude = -1;
  made.z = made.confidence = made.major_m = made.minor_m = made.angle_deg = made.heading = nan;
  made.spread_m = 20;
  return made;
}

int main() {
  // Two pixels per row, and a gap of two bytes after it.
  const std::vector<uint8_t> bytes = {1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12};
  const auto rgb = place::to_rgb("rgb8", bytes.data(), bytes.size(), 2, 2, 8);
  CHECK((rgb.pixels == std::vector<uint8_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  const auto bgr = place::to_rgb("bgr8", bytes.data(), bytes.size(), 2, 2, 8);
  CHECK((bgr.pixels == std::vector<uint8_t>{3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10}));
  const auto mono = place::to_rgb("mono8", bytes.data(), 2, 2, 1, 2);
  CHECK((mono.pixels == std::vector<uint8_t>{1, 1, 1, 2, 2, 2}));
  const auto bgra = place::to_rgb("bgra8", bytes.data(), 4, 1, 1, 4);
  CHECK((bgra.pixels == std::vector<uint8_t>{3, 2, 1}));
  for (const auto &wrong : {std::string("yuv422"), std::string("rgb8")}) {
    bool refused = false;
    try {
      place::to_rgb(wrong, bytes.data(), 5, 2, 2, 8);
    } catch (const std::invalid_argument &) {
      refused = true;
    }
    CHECK(refused);
  }

  auto spread = place::to_pose(fix(), 2);
  CHECK(spread.valid && near(spread.latitude, 52.5) && near(spread.longitude, -1));
  CHECK(near(spread.covariance[0], 400) && near(spread.covariance[7], 400) && spread.covariance[35] == place::kUnknown);
  CHECK(!place::to_pose(fix(), 4).valid);
  auto unknown = fix();
  unknown.status = R2FORMER_NOT_IN_INDEX;
  CHECK(!place::to_pose(unknown, 1).valid);

  // An ellipse that lies from west to east, and a camera that looks north.
  auto calibrated = fix();
  calibrated.major_m = 10 * place::kNinety;
  calibrated.minor_m = 2 * place::kNinety;
  calibrated.angle_deg = 90;
  calibrated.heading = 0;
  const auto pose = place::to_pose(calibrated, 2);
  CHECK(near(pose.covariance[0], 100) && near(pose.covariance[7], 4) && std::abs(pose.covariance[1]) < 1e-9);
  CHECK(near(pose.yaw, place::kPi / 2));
  std::puts("ok");
}
