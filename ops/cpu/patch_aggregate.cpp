// patch_aggregate and its backward on the CPU; see msgnn_plugin/ops/patch_aggregate.py.
#include <ATen/Dispatch.h>
#include <torch/library.h>

#include <tuple>

#include "gather_tensor.h"

namespace msgnn {
namespace {

constexpr const char* kOp = "patch_aggregate";

void check_weight(const at::Tensor& database, const at::Tensor& index, const at::Tensor& weight) {
  TORCH_CHECK_TYPE(
      weight.scalar_type() == database.scalar_type(), kOp, ": `weight` must have the dtype of `database`, ",
      database.dtype(), ", got ", weight.dtype(), ".");
  check_shape(kOp, "weight", weight, index.sizes());
}

at::Tensor axis_coverage(int64_t size, int64_t patch_size, int64_t stride, const at::TensorOptions& options) {
  const int64_t places = grid_length(size, patch_size, stride), before = padding_before(size, patch_size, stride);
  std::vector<int64_t> counts;
  for (int64_t pixel = before; pixel < before + size; ++pixel) {
    const Places range = covering(pixel, patch_size, stride, places);
    counts.push_back(maximum(range.end - range.begin, 1));
  }
  return at::tensor(counts, at::kLong).to(options.dtype());
}

// How many patches cover each pixel, at least 1 so that it can divide; shape (height, width).
at::Tensor coverage(
    int64_t height, int64_t width, int64_t patch_size, int64_t stride, const at::TensorOptions& options) {
  return at::outer(
      axis_coverage(height, patch_size, stride, options), axis_coverage(width, patch_size, stride, options));
}

// The grid of a map without its values.
template <typename T>
PatchMap<const T> grid_of(int64_t height, int64_t width, int64_t channels, int64_t patch_size, int64_t stride) {
  return {nullptr, 0, channels, patch_size, stride, grid_length(height, patch_size, stride),
          grid_length(width, patch_size, stride)};
}

at::Tensor patch_aggregate(
    const at::Tensor& database, const at::Tensor& index, const at::Tensor& weight, int64_t patch_size, int64_t stride,
    int64_t height, int64_t width) {
  check_patches(kOp, patch_size, stride);
  check_weight(database, index, weight);
  const MapTensor answering(database, patch_size, stride);
  const int64_t images = database.size(0), channels = database.size(1);
  const int64_t queries = grid_length(height, patch_size, stride) * grid_length(width, patch_size, stride);
  check_pairs(kOp, index, images, queries, answering.places());
  const int64_t neighbors = index.size(2);
  const at::Tensor places = index.contiguous(), weights = weight.to(compute_type(database)).contiguous();
  const at::Tensor out = new_map(database, {images, channels, height, width});
  AT_DISPATCH_FLOATING_TYPES(out.scalar_type(), kOp, [&] {
    const auto kernels = gather_kernels<scalar_t>(capability());
    const auto offsets = patch_offsets(answering.image<scalar_t>(0));
    const auto grid = grid_of<scalar_t>(height, width, channels, patch_size, stride);
    sum_into<scalar_t>(out, neighbors * channels * patch_size, kernels.add_patches, [&](int64_t image) {
      const int64_t pairs = image * queries * neighbors;
      const PairLists lists{nullptr, nullptr, places.const_data_ptr<int64_t>() + pairs, neighbors};
      return MapSum<scalar_t>{
          nullptr, 0, 0, grid, answering.image<scalar_t>(image), offsets.data(), lists,
          weights.const_data_ptr<scalar_t>() + pairs, 1};
    });
  });
  if (stride < patch_size) out.div_(coverage(height, width, patch_size, stride, out.options()));
  return finished_map(out, database);
}

std::tuple<at::Tensor, at::Tensor> patch_aggregate_backward(
    const at::Tensor& grad, const at::Tensor& database, const at::Tensor& index, const at::Tensor& weight,
    int64_t patch_size, int64_t stride) {
  check_patches(kOp, patch_size, stride);
  check_weight(database, index, weight);
  check_shape(kOp, "grad", grad, {database.size(0), database.size(1), grad.size(2), grad.size(3)});
  const int64_t images = database.size(0), channels = database.size(1);
  at::Tensor mean_grad = grad.to(compute_type(database));
  if (stride < patch_size) {
    mean_grad = mean_grad / coverage(grad.size(2), grad.size(3), patch_size, stride, mean_grad.options());
  }
  const MapTensor asking(mean_grad, patch_size, stride), answering(database, patch_size, stride);
  check_pairs(kOp, index, images, asking.places(), answering.places());
  const int64_t queries = index.size(1), neighbors = index.size(2);
  const at::Tensor places = index.contiguous(), weights = weight.to(compute_type(database)).contiguous();
  const at::Tensor database_grad = new_map(database, database.sizes());
  const at::Tensor weight_grad = at::empty(weights.sizes(), weights.options());
  const auto inverses = inverse_indices(places, answering.places());
  AT_DISPATCH_FLOATING_TYPES(weights.scalar_type(), kOp, [&] {
    const auto kernels = gather_kernels<scalar_t>(capability());
    const auto query_offsets = patch_offsets(asking.image<scalar_t>(0));
    const auto database_offsets = patch_offsets(answering.image<scalar_t>(0));
    const int64_t* begin_index = places.const_data_ptr<int64_t>();
    scalar_t* begin_grad = weight_grad.mutable_data_ptr<scalar_t>();
    const int64_t work = asking.columns() * neighbors * channels * patch_size * patch_size;
    for_rows(images, asking.rows(), work, [&](int64_t image, int64_t begin, int64_t end) {
      const int64_t pairs = image * queries * neighbors;
      kernels.products(
          {asking.image<scalar_t>(image), answering.image<scalar_t>(image), database_offsets.data(),
           begin_index + pairs, neighbors, begin_grad + pairs},
          begin, end);
    });
    sum_into<scalar_t>(
        database_grad, neighbors * channels * patch_size, kernels.add_patches, [&](int64_t image) {
          return MapSum<scalar_t>{
              nullptr, 0, 0, answering.image<scalar_t>(image), asking.image<scalar_t>(image), query_offsets.data(),
              inverses[image].lists(), weights.const_data_ptr<scalar_t>() + image * queries * neighbors, 1};
        });
  });
  return {finished_map(database_grad, database), weight_grad.to(weight.scalar_type())};
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, m) {
  m.impl("patch_aggregate", patch_aggregate);
  m.impl("patch_aggregate_backward", patch_aggregate_backward);
}

}  // namespace msgnn
