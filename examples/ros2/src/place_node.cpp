// Where is the robot? Asks a place index with the camera's frames and publishes what it says.
//
//   ros2 run r2former_ros place_node --ros-args -p index:=/maps/places -r image:=/camera/image_raw
//
// Subscribes to `image` (sensor_msgs/Image) and `image/compressed` (sensor_msgs/CompressedImage); publishes `place/pose`
// (geographic_msgs/GeoPoseWithCovarianceStamped), `place/fix` (sensor_msgs/NavSatFix) and `place/answer` (std_msgs/String: the
// JSON document). At most one frame is computed at a time; frames that come meanwhile are left out.

#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>

#include <geographic_msgs/msg/geo_pose_with_covariance_stamped.hpp>
#include <rclcpp/rclcpp.hpp>
#include <sensor_msgs/msg/compressed_image.hpp>
#include <sensor_msgs/msg/image.hpp>
#include <sensor_msgs/msg/nav_sat_fix.hpp>
#include <std_msgs/msg/string.hpp>

#include "place_logic.hpp"
#include "r2former.h"

namespace place {

class PlaceNode : public rclcpp::Node {
 public:
  PlaceNode() : Node("place") {
    const auto path = declare_parameter<std::string>("index");
    options_ = declare_parameter<std::string>("options", R"({"top": 5})");
    least_agreeing_ = static_cast<uint32_t>(declare_parameter<int>("least_agreeing", 2));
    const auto device = declare_parameter<std::string>("device", "cpu");
    index_.reset(r2former_open(path.c_str(), device.c_str()));
    if (!index_) throw std::runtime_error(r2former_last_error());
    pose_ = create_publisher<geographic_msgs::msg::GeoPoseWithCovarianceStamped>("place/pose", 10);
    fix_ = create_publisher<sensor_msgs::msg::NavSatFix>("place/fix", 10);
    answer_ = create_publisher<std_msgs::msg::String>("place/answer", 10);
    // The newest frame is the one that matters.
    const auto latest = rclcpp::SensorDataQoS().keep_last(1);
    image_ = create_subscription<sensor_msgs::msg::Image>(
        "image", latest, [this](sensor_msgs::msg::Image::ConstSharedPtr frame) {
          answer(frame->header, [&] {
            const auto rgb = to_rgb(frame->encoding, frame->data.data(), frame->data.size(), frame->width, frame->height, frame->step);
            return r2former_locate_rgb(index_.get(), rgb.pixels.data(), rgb.width, rgb.height, 3 * rgb.width, options_.c_str());
          });
        });
    compressed_ = create_subscription<sensor_msgs::msg::CompressedImage>(
        "image/compressed", latest, [this](sensor_msgs::msg::CompressedImage::ConstSharedPtr frame) {
          answer(frame->header, [&] {
            return r2former_locate(index_.get(), frame->data.data(), frame->data.size(), options_.c_str());
          });
        });
  }

 private:
  template <typename Ask>
  void answer(const std_msgs::msg::Header &header, Ask ask) {
    try {
      const std::unique_ptr<char, decltype(&r2former_free)> json(ask(), &r2former_free);
      r2former_fix fix;
      if (!json || !r2former_fix_of(json.get(), &fix)) throw std::runtime_error(r2former_last_error());
      std_msgs::msg::String text;
      text.data = json.get();
      answer_->publish(text);
      const Pose pose = to_pose(fix, least_agreeing_);
      if (!pose.valid) return;
      geographic_msgs::msg::GeoPoseWithCovarianceStamped stamped;
      stamped.header = header;
      stamped.pose.pose.position.latitude = pose.latitude;
      stamped.pose.pose.position.longitude = pose.longitude;
      stamped.pose.pose.position.altitude = std::nan("");
      stamped.pose.pose.orientation.z = std::sin(pose.yaw / 2);
      stamped.pose.pose.orientation.w = std::cos(pose.yaw / 2);
      stamped.pose.covariance = pose.covariance;
      pose_->publish(stamped);
      sensor_msgs::msg::NavSatFix nav;
      nav.header = header;
      nav.latitude = pose.latitude;
      nav.longitude = pose.longitude;
      nav.altitude = std::nan("");
      nav.position_covariance = {pose.covariance[0], pose.covariance[1], 0, pose.covariance[6], pose.covariance[7], 0, 0, 0, kUnknown};
      nav.position_covariance_type = sensor_msgs::msg::NavSatFix::COVARIANCE_TYPE_APPROXIMATED;
      fix_->publish(nav);
    } catch (const std::exception &error) {
      RCLCPP_WARN(get_logger(), "%s", error.what());
    }
  }

  std::unique_ptr<r2former_index, decltype(&r2former_close)> index_{nullptr, &r2former_close};
  std::string options_;
  uint32_t least_agreeing_ = 2;
  rclcpp::Publisher<geographic_msgs::msg::GeoPoseWithCovarianceStamped>::SharedPtr pose_;
  rclcpp::Publisher<sensor_msgs::msg::NavSatFix>::SharedPtr fix_;
  rclcpp::Publisher<std_msgs::msg::String>::SharedPtr answer_;
  rclcpp::Subscription<sensor_msgs::msg::Image>::SharedPtr image_;
  rclcpp::Subscription<sensor_msgs::msg::CompressedImage>::SharedPtr compressed_;
};

}  // namespace place

int main(int count, char **values) {
  rclcpp::init(count, values);
  try {
    rclcpp::spin(std::make_shared<place::PlaceNode>());
  } catch (const std::exception &error) {
    RCLCPP_FATAL(rclcpp::get_logger("place"), "%s", error.what());
    return 1;
  }
  rclcpp::shutdown();
  return 0;
}
