// msgnn_plugin::conv_weight_gradient on the CPU.
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "conv_pair_tensor.h"
#include "train_kernels.h"

namespace msgnn {
namespace {

std::tuple<at::Tensor, at::Tensor> conv_weight_gradient(
    at::TensorList maps, const at::Tensor& grad, int64_t kernel_size, const std::optional<at::Tensor>& offset) {
  std::vector<at::Tensor> inputs;
  std::vector<const float*> places;
  for (const at::Tensor& map : maps) {
    inputs.push_back(channels_last(map));
    places.push_back(inputs.back().const_data_ptr<float>());
  }
  const at::Tensor grads = channels_last(grad), shift = offset ? channels_last(*offset) : at::Tensor();
  const int64_t images = grads.size(0), channels = grads.size(1), height = grads.size(2), width = grads.size(3);
  const int64_t num_maps = static_cast<int64_t>(places.size()), parts = conv_parts(height, width);
  const int64_t points = kernel_size + kTrainTile - 1;
  at::Tensor sums = at::empty({images * num_maps * parts, points * points * channels * channels}, grads.options());
  at::Tensor bias = at::empty({images, parts, channels}, at::kDouble);
  at::Tensor weight = at::empty({images, num_maps, kernel_size, kernel_size, channels, channels}, grads.options());
  const ConvWeightGradient gradient = {
      kernel_size,
      channels,
      images,
      height,
      width,
      num_maps,
      places.data(),
      shift.defined() ? shift.const_data_ptr<float>() : nullptr,
      grads.const_data_ptr<float>(),
      parts,
      sums.mutable_data_ptr<float>(),
      bias.mutable_data_ptr<double>(),
  };
  const TrainKernels& kernels = train_kernels(capability());
  at::parallel_for(0, images * num_maps * parts, 1, [&](int64_t begin, int64_t end) {
    kernels.conv_weight_gradient(gradient, begin, end);
  });
  float* out = weight.mutable_data_ptr<float>();
  at::parallel_for(0, images * num_maps, 1, [&](int64_t begin, int64_t end) {
    kernels.finish_weight_gradient(gradient, out, begin, end);
  });
  at::Tensor total = at::zeros({images, channels}, at::kDouble);
  for (int64_t part = 0; part < parts; ++part) total += bias.select(1, part);
  return {
      weight.permute({0, 5, 1, 4, 2, 3}).reshape({images, channels, num_maps * channels, kernel_size, kernel_size}),
      total.to(at::kFloat)};
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, library) { library.impl("conv_weight_gradient", conv_weight_gradient); }

}  // namespace msgnn
