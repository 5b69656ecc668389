// msgnn_plugin::merge_weight_gradient on the CPU.
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "conv_pair_tensor.h"
#include "train_kernels.h"

namespace msgnn {
namespace {

std::tuple<std::vector<at::Tensor>, at::Tensor> merge_weight_gradient(
    at::TensorList maps, at::TensorList grads, at::IntArrayRef first, at::IntArrayRef end) {
  std::vector<at::Tensor> inputs;
  std::vector<const float*> places;
  for (const at::TensorList list : {maps, grads}) {
    for (const at::Tensor& map : list) {
      inputs.push_back(channels_last(map));
      places.push_back(inputs.back().const_data_ptr<float>());
    }
  }
  const at::Tensor& like = inputs[0];
  const int64_t channels = like.size(1), pixels = like.numel() / channels, parts = merge_parts(pixels);
  const int64_t num_grads = static_cast<int64_t>(grads.size());
  int64_t runs = 0;
  for (int64_t n = 0; n < num_grads; ++n) runs += end[n] - first[n];
  at::Tensor sums = at::empty({parts, runs, channels, channels}, like.options());
  at::Tensor bias = at::empty({parts, num_grads, channels}, at::kDouble);
  const MergeWeightGradient gradient = {
      channels,
      pixels,
      num_grads,
      places.data(),
      places.data() + maps.size(),
      first.data(),
      end.data(),
      parts,
      sums.mutable_data_ptr<float>(),
      bias.mutable_data_ptr<double>(),
  };
  const TrainKernels& kernels = train_kernels(capability());
  at::parallel_for(0, parts, 1, [&](int64_t from, int64_t to) { kernels.merge_weight_gradient(gradient, from, to); });
  // Part by part, whatever the number of threads.
  at::Tensor total = at::zeros({runs, channels, channels}, at::kDouble);
  at::Tensor bias_total = at::zeros({num_grads, channels}, at::kDouble);
  for (int64_t part = 0; part < parts; ++part) {
    total += sums[part];
    bias_total += bias[part];
  }
  std::vector<at::Tensor> weights;
  for (int64_t n = 0, run = 0; n < num_grads; run += end[n] - first[n], ++n) {
    const at::Tensor mine = total.narrow(0, run, end[n] - first[n]).to(at::kFloat);  // run, input, output
    weights.push_back(mine.permute({2, 0, 1}).contiguous().view({channels, -1}));
  }
  return {weights, bias_total.to(at::kFloat)};
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, library) { library.impl("merge_weight_gradient", merge_weight_gradient); }

}  // namespace msgnn
