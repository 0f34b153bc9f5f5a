// What the node does between two messages, without ROS: frames to pixels, answers to a position with its covariance.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "r2former.h"

namespace place {

constexpr double kPi = 3.14159265358979323846;

/// Red, green and blue of a frame whose rows have no gaps.
struct Frame {
  std::vector<uint8_t> pixels;
  size_t width = 0, height = 0;
};

/// The pixels of a sensor_msgs/Image, by its encoding.
inline Frame to_rgb(const std::string &encoding, const uint8_t *data, size_t bytes, size_t width, size_t height,
                    size_t step) {
  const size_t channels = encoding == "mono8" ? 1 : (encoding == "rgba8" || encoding == "bgra8") ? 4 : 3;
  const bool known = encoding == "rgb8" || encoding == "bgr8" || encoding == "8UC3" || channels != 3;
  if (!known) throw std::invalid_argument("the encoding " + encoding + " is not supported: rgb8, bgr8, rgba8, bgra8 or mono8");
  if (width == 0 || height == 0 || step < channels * width || bytes < step * (height - 1) + channels * width)
    throw std::invalid_argument("the frame has fewer bytes than its size says");
  // OpenCV's 8UC3 is blue, green, red.
  const bool swapped = encoding == "bgr8" || encoding == "bgra8" || encoding == "8UC3";
  const size_t red = swapped ? 2 : 0, green = channels == 1 ? 0 : 1, blue = channels == 1 || swapped ? 0 : 2;
  Frame frame;
  frame.width = width;
  frame.height = height;
  frame.pixels.resize(3 * width * height);
  uint8_t *out = frame.pixels.data();
  for (size_t row = 0; row < height; ++row) {
    const uint8_t *in = data + row * step;
    for (size_t column = 0; column < width; ++column, in += channels, out += 3) {
      out[0] = in[red];
      out[1] = in[green];
      out[2] = in[blue];
    }
  }
  return frame;
}

/// What is published: a position with the covariance of east, north, up and of the rotation about them.
struct Pose {
  bool valid = false;
  double latitude = 0, longitude = 0;
  /// Orientation of the camera about the vertical, as ROS counts it: 0 is east, counter-clockwise.
  double yaw = 0;
  std::array<double, 36> covariance{};
};

/// Variance of what is not known.
constexpr double kUnknown = 1e6;

/// The ellipse of 90 % is this many standard deviations of a normal distribution of the plane.
constexpr double kNinety = 2.1459660262893472;

/// The pose of an answer. `least_agreeing` matches have to agree: a single one is weak evidence.
inline Pose to_pose(const r2former_fix &fix, uint32_t least_agreeing) {
  Pose pose;
  if (fix.status != R2FORMER_ANSWERED || std::isnan(fix.latitude) || fix.agreeing < least_agreeing) return pose;
  pose.valid = true;
  pose.latitude = fix.latitude;
  pose.longitude = fix.longitude;
  double east = 0, north = 0, both = 0;
  if (!std::isnan(fix.major_m)) {
    const double major = std::pow(fix.major_m / kNinety, 2), minor = std::pow(fix.minor_m / kNinety, 2);
    const double angle = fix.angle_deg * kPi / 180;
    east = major * std::pow(std::sin(angle), 2) + minor * std::pow(std::cos(angle), 2);
    north = major * std::pow(std::cos(angle), 2) + minor * std::pow(std::sin(angle), 2);
    both = (major - minor) * std::sin(angle) * std::cos(angle);
  } else {
    // Of a model that is not calibrated: matches agree within 25 m.
    const double deviation = std::max(12.5, std::isnan(fix.spread_m) ? 25.0 : fix.spread_m);
    east = north = deviation * deviation;
  }
  pose.covariance[0] = east;
  pose.covariance[1] = pose.covariance[6] = both;
  pose.covariance[7] = north;
  pose.covariance[14] = pose.covariance[21] = pose.covariance[28] = kUnknown;
  pose.covariance[35] = kUnknown;
  if (!std::isnan(fix.heading)) {
    pose.yaw = (90.0 - fix.heading) * kPi / 180;
    pose.yaw = std::atan2(std::sin(pose.yaw), std::cos(pose.yaw));
    pose.covariance[35] = std::pow(20.0 * kPi / 180, 2);
  }
  return pose;
}

}  // namespace place
