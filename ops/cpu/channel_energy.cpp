// msgnn_plugin::channel_energy on the CPU.
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "conv_pair_tensor.h"
#include "energy.h"

namespace msgnn {
namespace {

constexpr int64_t kPixels = 14;  // whose squares are added in float32

// Adds the sums of squares of pixels [begin, end) to `energy`; `squares` has room for a pixel.
void add_squares(
    const float* map, const float* offset, int64_t channels, int64_t begin, int64_t end, float* squares,
    double* energy) {
  for (int64_t first = begin; first < end; first += kPixels) {
    std::fill(squares, squares + channels, 0.0f);
    for (int64_t pixel = first; pixel < std::min(end, first + kPixels); ++pixel) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t place = pixel * channels + c;
        const float value = offset != nullptr ? map[place] + offset[place] : map[place];
        squares[c] += value * value;
      }
    }
    for (int64_t c = 0; c < channels; ++c) energy[c] += squares[c];
  }
}

at::Tensor channel_energy(const at::Tensor& x, const std::optional<at::Tensor>& offset) {
  const at::Tensor map = channels_last(x), added = offset ? channels_last(*offset) : at::Tensor();
  const int64_t images = x.size(0), channels = x.size(1), pixels = x.size(2) * x.size(3);
  const int64_t parts = (pixels + kMergePart - 1) / kMergePart;
  at::Tensor energy = at::zeros({images, parts, channels}, at::kDouble);
  const float* from = map.const_data_ptr<float>();
  const float* more = added.defined() ? added.const_data_ptr<float>() : nullptr;
  double* to = energy.mutable_data_ptr<double>();
  at::parallel_for(0, images * parts, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> squares(channels);
    for (int64_t part = begin; part < end; ++part) {
      const int64_t image = part / parts * pixels, first = image + part % parts * kMergePart;
      const int64_t last = std::min(image + pixels, first + kMergePart);
      add_squares(from, more, channels, first, last, squares.data(), to + part * channels);
    }
  });
  return sum_of_parts(energy);
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, library) { library.impl("channel_energy", channel_energy); }

}  // namespace msgnn
