// patch_aggregate and its backward on the GPU; see msgnn_plugin/ops/patch_aggregate.py.
#include "inverse_index.cuh"
#include "msgnn/gather_element.h"
#include "tensors.cuh"

namespace msgnn {
namespace {

const std::string kOp = "patch_aggregate";

void check_arguments(
    const Tensor& database, const Tensor& index, const Tensor& weight, int64_t patch_size, int64_t stride) {
  check_patches(kOp, patch_size, stride);
  check_map(kOp, "database", database);
  check_same_kind(kOp, "weight", weight, "database", database);
  check_shape(kOp, "weight", weight, shape_of(index));
}

Tensor weights_of(const Tensor& database, const Tensor& weight) {
  return torch::stable::contiguous(with_type(weight, compute_type(database)));
}

// Weighted sums of the other map's patches: the op itself, and the gradient of its database.
template <typename T>
struct WeightedPatches {
  StridedMap<T> out;
  StridedMap<const T> other;
  PairsOfPlaces pairs;
  const T* weight;
  bool mean;  // over the patches that cover a pixel

  __device__ void operator()(int64_t pixel, int lane) const {
    const PixelPlace at(out, pixel);
    const T count = mean ? static_cast<T>(coverage(out, at.y, at.x)) : T(1);
    for (int64_t channel = lane; channel < out.channels; channel += kWarp) {
      out.pixel(at.image, channel, at.y, at.x) =
          weighted_pixel(out, other, pairs, weight, at.image, channel, at.y, at.x) / count;
    }
  }
};

template <typename T>
struct MeanGradient {
  StridedMap<T> out;
  StridedMap<const T> gradient;

  __device__ void operator()(int64_t pixel, int lane) const {
    const PixelPlace at(out, pixel);
    const T count = static_cast<T>(coverage(out, at.y, at.x));
    for (int64_t channel = lane; channel < out.channels; channel += kWarp) {
      out.pixel(at.image, channel, at.y, at.x) = gradient.pixel(at.image, channel, at.y, at.x) / count;
    }
  }
};

template <typename T>
struct WeightGradient {
  StridedMap<const T> gradient, database;
  const int64_t* index;
  int64_t neighbors;
  T* out;

  __device__ void operator()(int64_t pair, int lane) const {
    const PatchPairReader<T> patches(gradient, database, patch_pair(index, pair, gradient.places(), neighbors));
    T sum = patches.product(lane, kWarp);
    for (int half = kWarp / 2; half > 0; half /= 2) sum += __shfl_down_sync(0xffffffffu, sum, half);
    if (lane == 0) out[pair] = sum;
  }
};

Tensor patch_aggregate(
    const Tensor& database, const Tensor& index, const Tensor& weight, int64_t patch_size, int64_t stride,
    int64_t height, int64_t width) {
  check_arguments(database, index, weight, patch_size, stride);
  require(
      height >= 1 && width >= 1,
      kOp + ": `output_size` must be at least 1 x 1, got " + written({height, width}) + ".");
  const OnDevice device(database);
  const MapTensor answering(database, patch_size, stride);
  const int64_t queries = grid_length(height, patch_size, stride) * grid_length(width, patch_size, stride);
  check_pairs(kOp, index, database, database.size(0), queries, answering.places());
  const Tensor places = torch::stable::contiguous(index), weights = weights_of(database, weight);
  const Tensor out = new_map(database, {database.size(0), database.size(1), height, width});
  with_type_of(compute_type(database), [&](auto zero) {
    using T = decltype(zero);
    launch_warps(
        kOp, device, database.size(0) * height * width,
        WeightedPatches<T>{
            strided_map<T>(out, patch_size, stride), answering.view<T>(), pairs_of_queries(places),
            weights.const_data_ptr<T>(), true});
  });
  return with_type(out, database.scalar_type());
}

std::tuple<Tensor, Tensor> patch_aggregate_backward(
    const Tensor& grad, const Tensor& database, const Tensor& index, const Tensor& weight, int64_t patch_size,
    int64_t stride) {
  check_arguments(database, index, weight, patch_size, stride);
  check_map(kOp, "grad", grad);
  check_same_kind(kOp, "grad", grad, "database", database);
  check_shape(kOp, "grad", grad, {database.size(0), database.size(1), grad.size(2), grad.size(3)});
  const OnDevice device(database);
  const MapTensor given(grad, patch_size, stride), answering(database, patch_size, stride);
  check_pairs(kOp, index, database, database.size(0), given.places(), answering.places());
  const Tensor places = torch::stable::contiguous(index), weights = weights_of(database, weight);
  const Tensor mean_grad = new_tensor(grad, shape_of(grad), compute_type(grad), MemoryFormat::ChannelsLast);
  const Tensor database_grad = new_map(database, shape_of(database));
  const Tensor weight_grad = new_tensor(weight, shape_of(weight), compute_type(database));
  const InverseIndex inverse(kOp, device, places, answering.places());
  with_type_of(compute_type(database), [&](auto zero) {
    using T = decltype(zero);
    launch_warps(
        kOp, device, grad.size(0) * grad.size(2) * grad.size(3),
        MeanGradient<T>{strided_map<T>(mean_grad, patch_size, stride), given.view<T>()});
    const auto asking = strided_map<T, const T>(mean_grad, patch_size, stride);
    launch_warps(
        kOp, device, index.numel(),
        WeightGradient<T>{
            asking, answering.view<T>(), places.const_data_ptr<int64_t>(), index.size(2),
            weight_grad.mutable_data_ptr<T>()});
    launch_warps(
        kOp, device, database.size(0) * database.size(2) * database.size(3),
        WeightedPatches<T>{
            strided_map<T>(database_grad, patch_size, stride), asking, inverse.pairs(), weights.const_data_ptr<T>(),
            false});
  });
  return {with_type(database_grad, database.scalar_type()), with_type(weight_grad, weight.scalar_type())};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(msgnn_plugin, CUDA, library) {
  library.impl("patch_aggregate", TORCH_BOX(&patch_aggregate));
  library.impl("patch_aggregate_backward", TORCH_BOX(&patch_aggregate_backward));
}

}  // namespace msgnn
