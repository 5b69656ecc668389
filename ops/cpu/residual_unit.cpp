// msgnn_plugin::residual_unit on the CPU.
#include <torch/library.h>

#include <optional>

#include "conv_pair_tensor.h"

namespace msgnn {
namespace {

at::Tensor residual_unit(
    const at::Tensor& x, const std::optional<at::Tensor>& offset, const std::optional<at::Tensor>& gate,
    const at::Tensor& weight1, const at::Tensor& bias1, const at::Tensor& weight2, const at::Tensor& bias2,
    double negative_slope) {
  ConvPair pair = {};
  pair.negative_slope = static_cast<float>(negative_slope);
  pair.residual = true;
  return run_conv_pair(
      pair, {channels_last(x)}, offset ? channels_last(*offset) : at::Tensor(), gate ? gate->contiguous() : at::Tensor(),
      weight1, bias1, weight2, bias2);
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, library) { library.impl("residual_unit", residual_unit); }

}  // namespace msgnn
