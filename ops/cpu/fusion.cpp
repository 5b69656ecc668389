// msgnn_plugin::fusion on the CPU.
#include <torch/library.h>

#include <vector>

#include "conv_pair_tensor.h"

namespace msgnn {
namespace {

at::Tensor fusion(
    at::TensorList maps, const at::Tensor& weight1, const at::Tensor& bias1, const at::Tensor& weight2,
    const at::Tensor& bias2, double negative_slope, bool last_activation) {
  ConvPair pair = {};
  pair.negative_slope = static_cast<float>(negative_slope);
  pair.last_activation = last_activation;
  std::vector<at::Tensor> inputs;
  for (const at::Tensor& map : maps) inputs.push_back(channels_last(map));
  return run_conv_pair(pair, inputs, {}, {}, weight1, bias1, weight2, bias2);
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, library) { library.impl("fusion", fusion); }

}  // namespace msgnn
