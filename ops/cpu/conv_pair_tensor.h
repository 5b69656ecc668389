// Tensors to the two convolutions of trunk_kernels.h: layout, transformed weights, threads.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <vector>

#include "map_pool.h"
#include "trunk_kernels.h"

namespace msgnn {

inline at::Tensor channels_last(const at::Tensor& map) { return map.contiguous(at::MemoryFormat::ChannelsLast); }

// Weights (C, n * C, k, k) for Winograd's kernels: (images or 1, n, values), an image's gate (C) multiplied in.
inline at::Tensor winograd_weight(const TrunkKernels& kernels, const at::Tensor& weight, const at::Tensor& gate) {
  const int64_t channels = weight.size(0), maps = weight.size(1) / channels, side = weight.size(2);
  const int64_t images = gate.defined() ? gate.size(0) : 1;
  const at::Tensor ordered =
      weight.view({channels, maps, channels, side, side}).permute({1, 3, 4, 2, 0}).contiguous();
  at::Tensor result = at::empty({images, maps, kernels.weight_values(side, channels)}, weight.options());
  const float* from = ordered.const_data_ptr<float>();
  const float* gates = gate.defined() ? gate.const_data_ptr<float>() : nullptr;
  float* to = result.mutable_data_ptr<float>();
  at::parallel_for(0, images * maps, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      kernels.transform_weight(
          side, channels, from + task % maps * ordered.stride(0),
          gates != nullptr ? gates + task / maps * channels : nullptr, to + task * result.stride(1));
    }
  });
  return result;
}

// Runs `pair`, whose slope, residual and last_activation are set, on channels-last maps.
inline at::Tensor run_conv_pair(
    ConvPair pair, const std::vector<at::Tensor>& maps, const at::Tensor& offset, const at::Tensor& gate,
    const at::Tensor& weight1, const at::Tensor& bias1, const at::Tensor& weight2, const at::Tensor& bias2) {
  const TrunkKernels& kernels = trunk_kernels(capability());
  const at::Tensor first = winograd_weight(kernels, weight1.contiguous(), gate);
  const at::Tensor second = winograd_weight(kernels, weight2.contiguous(), {});
  const at::Tensor bias_first = bias1.contiguous(), bias_second = bias2.contiguous();
  at::Tensor output = new_trunk_map(maps[0].sizes());
  std::vector<const float*> places;
  for (const at::Tensor& map : maps) places.push_back(map.const_data_ptr<float>());
  pair.kernel = weight1.size(2);
  pair.images = output.size(0);
  pair.channels = output.size(1);
  pair.height = output.size(2);
  pair.width = output.size(3);
  pair.num_maps = static_cast<int64_t>(places.size());
  pair.maps = places.data();
  pair.offset = offset.defined() ? offset.const_data_ptr<float>() : nullptr;
  pair.weight1 = first.const_data_ptr<float>();
  pair.image_weights = gate.defined() ? first.stride(0) : 0;
  pair.bias1 = bias_first.const_data_ptr<float>();
  pair.weight2 = second.const_data_ptr<float>();
  pair.bias2 = bias_second.const_data_ptr<float>();
  pair.output = output.mutable_data_ptr<float>();
  constexpr int64_t fewest = 4;  // strips a thread: each thread makes one more row of the middle map than it needs
  at::parallel_for(0, kernels.conv_pair_strips(pair), fewest, [&](int64_t begin, int64_t end) {
    kernels.conv_pair(pair, begin, end);
  });
  return output;
}

}  // namespace msgnn
