// msgnn_plugin::trunk_conv on the CPU.
#include <torch/library.h>

#include <optional>
#include <vector>

#include "conv_pair_tensor.h"
#include "train_kernels.h"

namespace msgnn {
namespace {

// Channels-last copies where needed, and where they lie.
struct Maps {
  std::vector<at::Tensor> tensors;
  std::vector<const float*> places;
  explicit Maps(at::TensorList maps) {
    for (const at::Tensor& map : maps) {
      tensors.push_back(channels_last(map));
      places.push_back(tensors.back().const_data_ptr<float>());
    }
  }
  int64_t size() const { return static_cast<int64_t>(places.size()); }
};

const float* place(const at::Tensor& tensor) { return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr; }

at::Tensor row_major(const std::optional<at::Tensor>& values) { return values ? values->contiguous() : at::Tensor(); }

at::Tensor as_map(const std::optional<at::Tensor>& map) { return map ? channels_last(*map) : at::Tensor(); }

at::Tensor trunk_conv(
    at::TensorList maps, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
    const std::optional<at::Tensor>& offset, const std::optional<at::Tensor>& gate, double negative_slope, bool activate,
    const std::optional<at::Tensor>& scale, at::TensorList added, at::TensorList scaled,
    const std::optional<at::Tensor>& factor, const std::optional<at::Tensor>& total,
    const std::optional<at::Tensor>& mask) {
  const Maps inputs(maps), adding(added), scaling(scaled);
  const at::Tensor shift = as_map(offset), masking = as_map(mask), gates = row_major(gate), scales = row_major(scale);
  const at::Tensor factors = row_major(factor), like = inputs.tensors[0];
  const at::Tensor biases = bias ? bias->contiguous() : at::zeros({like.size(1)}, like.options());
  const at::Tensor transformed = winograd_weight(trunk_kernels(capability()), weight.contiguous(), {});
  const at::Tensor output = new_trunk_map(like.sizes());
  TORCH_CHECK(
      !total || total->is_contiguous(at::MemoryFormat::ChannelsLast),
      "trunk_conv: `total` must be channels last, since it is written to, got strides ", total->strides(), ".");
  TrainConv conv = {};
  conv.kernel = weight.size(2);
  conv.images = like.size(0);
  conv.channels = like.size(1);
  conv.height = like.size(2);
  conv.width = like.size(3);
  conv.num_maps = inputs.size();
  conv.maps = inputs.places.data();
  conv.offset = place(shift);
  conv.weight = place(transformed);
  conv.gate = place(gates);
  conv.bias = place(biases);
  conv.negative_slope = static_cast<float>(negative_slope);
  conv.activate = activate;
  conv.scale = place(scales);
  conv.num_added = adding.size();
  conv.added = adding.places.data();
  conv.num_scaled = scaling.size();
  conv.scaled = scaling.places.data();
  conv.factor = place(factors);
  conv.total = total ? total->mutable_data_ptr<float>() : nullptr;
  conv.mask = place(masking);
  conv.output = output.mutable_data_ptr<float>();
  const TrainKernels& kernels = train_kernels(capability());
  const int64_t rows = (conv.height + kTrainTile - 1) / kTrainTile;
  at::parallel_for(0, conv.images * rows, 1, [&](int64_t begin, int64_t end) { kernels.conv(conv, begin, end); });
  return output;
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, library) { library.impl("trunk_conv", trunk_conv); }

}  // namespace msgnn
