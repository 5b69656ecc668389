// patch_difference and its backward on the GPU; see msgnn_plugin/ops/patch_difference.py.
#include "inverse_index.cuh"
#include "msgnn/gather_element.h"
#include "tensors.cuh"

namespace msgnn {
namespace {

const std::string kOp = "patch_difference";

bool is_abs_sum(const std::string& reduce) {
  require(
      reduce == "none" || reduce == "abs_sum",
      kOp + ": `reduce` must be \"none\" or \"abs_sum\", got \"" + reduce + "\".");
  return reduce == "abs_sum";
}

void check_maps(const Tensor& query, const Tensor& database, int64_t patch_size, int64_t stride) {
  check_patches(kOp, patch_size, stride);
  check_map(kOp, "query", query);
  check_map(kOp, "database", database);
  check_same_kind(kOp, "database", database, "query", query);
  check_shape(kOp, "database", database, {query.size(0), query.size(1), database.size(2), database.size(3)});
}

template <typename T>
struct Differences {
  StridedMap<const T> query, database;
  const int64_t* index;
  int64_t neighbors, values;  // of a pair
  bool abs_sum;
  T* out;

  __device__ void operator()(int64_t pair, int lane) const {
    const PatchPairReader<T> patches(query, database, patch_pair(index, pair, query.places(), neighbors));
    for (int64_t value = lane; value < values; value += kWarp) {
      out[pair * values + value] = abs_sum ? patches.absolute_difference(value) : patches.difference(value);
    }
  }
};

// The gradient of one of the two maps.
template <typename T>
struct DifferenceGradient {
  StridedMap<T> out;
  StridedMap<const T> own, other;
  PairsOfPlaces pairs;
  const T* gradient;
  bool abs_sum;
  T factor;  // where the differences are not absolute: 1 for the query, -1 for the database

  __device__ void operator()(int64_t pixel, int lane) const {
    const PixelPlace at(out, pixel);
    for (int64_t channel = lane; channel < out.channels; channel += kWarp) {
      out.pixel(at.image, channel, at.y, at.x) = abs_sum
          ? sign_pixel(out, own, other, pairs, gradient, at.image, channel, at.y, at.x)
          : factor * gradient_pixel(out, pairs, gradient, at.image, channel, at.y, at.x);
    }
  }
};

Tensor patch_difference(
    const Tensor& query, const Tensor& database, const Tensor& index, int64_t patch_size, int64_t stride,
    std::string reduce) {
  check_maps(query, database, patch_size, stride);
  const bool abs_sum = is_abs_sum(reduce);
  const OnDevice device(query);
  const MapTensor asking(query, patch_size, stride), answering(database, patch_size, stride);
  check_pairs(kOp, index, query, query.size(0), asking.places(), answering.places());
  const Tensor places = torch::stable::contiguous(index);
  const int64_t values = query.size(1) * (abs_sum ? 1 : patch_size * patch_size);
  const Tensor out = new_tensor(query, {index.size(0), index.size(1), index.size(2), values}, compute_type(query));
  with_type_of(compute_type(query), [&](auto zero) {
    using T = decltype(zero);
    launch_warps(
        kOp, device, index.numel(),
        Differences<T>{
            asking.view<T>(), answering.view<T>(), places.const_data_ptr<int64_t>(), index.size(2), values, abs_sum,
            out.mutable_data_ptr<T>()});
  });
  return with_type(out, query.scalar_type());
}

std::tuple<Tensor, Tensor> patch_difference_backward(
    const Tensor& grad, const Tensor& query, const Tensor& database, const Tensor& index, int64_t patch_size,
    int64_t stride, std::string reduce) {
  check_maps(query, database, patch_size, stride);
  const bool abs_sum = is_abs_sum(reduce);
  const OnDevice device(query);
  const MapTensor asking(query, patch_size, stride), answering(database, patch_size, stride);
  check_pairs(kOp, index, query, query.size(0), asking.places(), answering.places());
  check_same_kind(kOp, "grad", grad, "query", query);
  const int64_t values = query.size(1) * (abs_sum ? 1 : patch_size * patch_size);
  check_shape(kOp, "grad", grad, {index.size(0), index.size(1), index.size(2), values});
  const Tensor places = torch::stable::contiguous(index);
  const Tensor pair_grads = torch::stable::contiguous(with_type(grad, compute_type(query)));
  const Tensor query_grad = new_map(query, shape_of(query)), database_grad = new_map(database, shape_of(database));
  const InverseIndex inverse(kOp, device, places, answering.places());
  with_type_of(compute_type(query), [&](auto zero) {
    using T = decltype(zero);
    const T* gradient = pair_grads.const_data_ptr<T>();
    launch_warps(
        kOp, device, query.size(0) * query.size(2) * query.size(3),
        DifferenceGradient<T>{
            strided_map<T>(query_grad, patch_size, stride), asking.view<T>(), answering.view<T>(),
            pairs_of_queries(places), gradient, abs_sum, 1});
    launch_warps(
        kOp, device, database.size(0) * database.size(2) * database.size(3),
        DifferenceGradient<T>{
            strided_map<T>(database_grad, patch_size, stride), answering.view<T>(), asking.view<T>(), inverse.pairs(),
            gradient, abs_sum, -1});
  });
  return {with_type(query_grad, query.scalar_type()), with_type(database_grad, database.scalar_type())};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(msgnn_plugin, CUDA, library) {
  library.impl("patch_difference", TORCH_BOX(&patch_difference));
  library.impl("patch_difference_backward", TORCH_BOX(&patch_difference_backward));
}

}  // namespace msgnn
