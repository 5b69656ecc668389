// msgnn_plugin::dense_merge on the CPU.
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "conv_pair_tensor.h"
#include "energy.h"

namespace msgnn {
namespace {

std::tuple<at::Tensor, at::Tensor, std::vector<at::Tensor>> dense_merge(
    at::TensorList maps, const at::Tensor& weight, const at::Tensor& bias, double negative_slope,
    const std::optional<at::Tensor>& offset, const std::optional<at::Tensor>& sums, at::TensorList later) {
  std::vector<at::Tensor> inputs;
  std::vector<const float*> places;
  for (const at::Tensor& map : maps) {
    inputs.push_back(channels_last(map));
    places.push_back(inputs.back().const_data_ptr<float>());
  }
  std::vector<at::Tensor> weights = {weight.flatten(1).t()};
  for (const at::Tensor& other : later) weights.push_back(other.flatten(1).t());
  const at::Tensor ordered = at::stack(weights), biases = bias.contiguous();
  const at::Tensor added = offset ? channels_last(*offset) : at::Tensor();
  const at::Tensor before = sums ? channels_last(*sums) : at::Tensor();
  const int64_t images = inputs[0].size(0), channels = inputs[0].size(1), pixels = inputs[0][0][0].numel();
  const int64_t parts = (pixels + kMergePart - 1) / kMergePart;
  std::vector<at::Tensor> results;
  std::vector<float*> result_places;
  for (size_t result = 0; result < weights.size(); ++result) {
    results.push_back(new_trunk_map(inputs[0].sizes()));
    result_places.push_back(results.back().mutable_data_ptr<float>());
  }
  at::Tensor energy = at::empty({images, parts, channels}, at::kDouble);
  const DenseMerge merge = {
      channels,
      images,
      pixels,
      static_cast<int64_t>(places.size()),
      static_cast<int64_t>(results.size()),
      places.data(),
      ordered.const_data_ptr<float>(),
      biases.const_data_ptr<float>(),
      before.defined() ? before.const_data_ptr<float>() : nullptr,
      added.defined() ? added.const_data_ptr<float>() : nullptr,
      static_cast<float>(negative_slope),
      result_places.data(),
      energy.mutable_data_ptr<double>()};
  const TrunkKernels& kernels = trunk_kernels(capability());
  at::parallel_for(0, images * parts, 1, [&](int64_t begin, int64_t end) { kernels.dense_merge(merge, begin, end); });
  return {results[0], sum_of_parts(energy), {results.begin() + 1, results.end()}};
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, library) { library.impl("dense_merge", dense_merge); }

}  // namespace msgnn
