// msgnn_plugin::norm_conv on the CPU.
#include <torch/library.h>

#include <cmath>
#include <optional>
#include <vector>

#include "conv_pair_tensor.h"

namespace msgnn {
namespace {

void check_map(const char* name, const at::Tensor& map, at::IntArrayRef sizes) {
  TORCH_CHECK_VALUE(
      map.sizes() == sizes && map.is_contiguous(at::MemoryFormat::ChannelsLast), "norm_conv: `", name,
      "` must be channels last of shape ", sizes, ", got ", map.sizes(), " with strides ", map.strides(), ".");
}

// Centre, scale and shift of every image and channel: the norm as (value - centre) * scale + shift.
std::vector<float> norm_factors(const at::Tensor& moments, double eps) {
  const int64_t images = moments.size(0), channels = moments.size(2);
  const double* from = moments.const_data_ptr<double>();
  std::vector<float> factors(images * 3 * channels);
  for (int64_t image = 0; image < images; ++image, from += 2 * channels) {
    float* to = factors.data() + image * 3 * channels;
    for (int64_t c = 0; c < channels; ++c) {
      const double scale = 1 / std::sqrt(from[channels + c] + eps);
      to[c] = static_cast<float>(from[c]);
      to[channels + c] = static_cast<float>(scale);
      to[2 * channels + c] = static_cast<float>((to[c] - from[c]) * scale);
    }
  }
  return factors;
}

// Means and variances of each image out of those of its tile rows, one after the other.
at::Tensor join_moments(const std::vector<double>& parts, const NormConv& conv, int64_t tile_rows) {
  at::Tensor moments = at::zeros({conv.images, 2, conv.channels}, at::kDouble);
  const double* from = parts.data();
  for (int64_t image = 0; image < conv.images; ++image) {
    double* mean = moments.mutable_data_ptr<double>() + image * 2 * conv.channels;
    double* variance = mean + conv.channels;
    double before = 0;
    for (int64_t row = 0; row < tile_rows; ++row, from += 2 * conv.channels) {
      const auto own = static_cast<double>(std::min(kTileSide, conv.height - row * kTileSide) * conv.width);
      for (int64_t c = 0; c < conv.channels; ++c) {
        const double difference = from[c] - mean[c];
        mean[c] += difference * (own / (own + before));
        variance[c] += from[conv.channels + c] + difference * difference * (own * before / (own + before));
      }
      before += own;
    }
    for (int64_t c = 0; c < conv.channels; ++c) variance[c] /= before;
  }
  return moments;
}

at::Tensor norm_conv(
    const at::Tensor& inner, const at::Tensor& weight, const at::Tensor& bias, const std::optional<at::Tensor>& moments,
    const std::optional<at::Tensor>& x, double eps) {
  check_map("inner", inner, inner.sizes());
  if (x) check_map("x", *x, inner.sizes());
  const TrunkKernels& kernels = trunk_kernels(capability());
  const at::Tensor transformed = winograd_weight(kernels, weight.contiguous(), {}), biases = bias.contiguous();
  const std::vector<float> factors = moments ? norm_factors(moments->contiguous(), eps) : std::vector<float>();
  NormConv conv = {};
  conv.images = inner.size(0);
  conv.channels = inner.size(1);
  conv.height = inner.size(2);
  conv.width = inner.size(3);
  conv.x = x ? x->mutable_data_ptr<float>() : nullptr;
  conv.inner = inner.mutable_data_ptr<float>();
  conv.norm = moments ? factors.data() : nullptr;
  conv.weight = transformed.const_data_ptr<float>();
  conv.bias = biases.const_data_ptr<float>();
  const int64_t tile_rows = (conv.height + kTileSide - 1) / kTileSide, tasks = conv.images * tile_rows;
  const int64_t bands = std::min<int64_t>(tasks, at::get_num_threads());
  std::vector<double> parts(tasks * 2 * conv.channels);
  std::vector<float> halo(x ? 0 : bands * 2 * conv.width * conv.channels);
  conv.moments = parts.data();
  conv.halo = halo.data();
  // A band reads a row of its neighbours; both rows at a border are taken care of before anyone writes.
  for (int64_t band = 1; band < bands; ++band) kernels.prepare_norm_conv(conv, band, tasks * band / bands);
  at::parallel_for(0, bands, 1, [&](int64_t begin, int64_t end) {
    for (int64_t band = begin; band < end; ++band) {
      kernels.norm_conv(conv, band, tasks * band / bands, tasks * (band + 1) / bands);
    }
  });
  return join_moments(parts, conv, tile_rows);
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, library) { library.impl("norm_conv", norm_conv); }

}  // namespace msgnn
