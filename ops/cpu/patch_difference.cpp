// patch_difference and its backward on the CPU; see msgnn_plugin/ops/patch_difference.py.
#include <ATen/Dispatch.h>
#include <torch/library.h>

#include <string_view>
#include <tuple>

#include "gather_tensor.h"

namespace msgnn {
namespace {

constexpr const char* kOp = "patch_difference";

bool is_abs_sum(std::string_view reduce) {
  TORCH_CHECK_VALUE(
      reduce == "none" || reduce == "abs_sum", kOp, ": `reduce` must be one of ('none', 'abs_sum'), got '", reduce,
      "'.");
  return reduce == "abs_sum";
}

void check_database(const at::Tensor& query, const at::Tensor& database) {
  TORCH_CHECK_TYPE(
      query.scalar_type() == database.scalar_type(), kOp, ": `database` must have the dtype of `query`, ",
      query.dtype(), ", got ", database.dtype(), ".");
  check_shape(kOp, "database", database, {query.size(0), query.size(1), database.size(2), database.size(3)});
}

at::Tensor patch_difference(
    const at::Tensor& query, const at::Tensor& database, const at::Tensor& index, int64_t patch_size, int64_t stride,
    std::string_view reduce) {
  check_patches(kOp, patch_size, stride);
  check_database(query, database);
  const bool abs_sum = is_abs_sum(reduce);
  const MapTensor asking(query, patch_size, stride), answering(database, patch_size, stride);
  check_pairs(kOp, index, asking.images(), asking.places(), answering.places());
  const int64_t queries = index.size(1), neighbors = index.size(2), area = patch_size * patch_size;
  const int64_t values = query.size(1) * (abs_sum ? 1 : area);
  const at::Tensor places = index.contiguous();
  const at::Tensor out =
      at::empty({index.size(0), queries, neighbors, values}, query.options().dtype(compute_type(query)));
  AT_DISPATCH_FLOATING_TYPES(out.scalar_type(), kOp, [&] {
    const auto kernels = gather_kernels<scalar_t>(capability());
    const auto kernel = abs_sum ? kernels.absolute_differences : kernels.differences;
    const auto offsets = patch_offsets(answering.image<scalar_t>(0));
    const int64_t* begin_index = places.const_data_ptr<int64_t>();
    scalar_t* begin_out = out.mutable_data_ptr<scalar_t>();
    const int64_t work = asking.columns() * neighbors * query.size(1) * area;
    for_rows(index.size(0), asking.rows(), work, [&](int64_t image, int64_t begin, int64_t end) {
      const int64_t pairs = image * queries * neighbors;
      kernel(
          {asking.image<scalar_t>(image), answering.image<scalar_t>(image), offsets.data(), begin_index + pairs,
           neighbors, begin_out + pairs * values},
          begin, end);
    });
  });
  return out.to(query.scalar_type());
}

std::tuple<at::Tensor, at::Tensor> patch_difference_backward(
    const at::Tensor& grad, const at::Tensor& query, const at::Tensor& database, const at::Tensor& index,
    int64_t patch_size, int64_t stride, std::string_view reduce) {
  check_patches(kOp, patch_size, stride);
  check_database(query, database);
  const bool abs_sum = is_abs_sum(reduce);
  const MapTensor asking(query, patch_size, stride), answering(database, patch_size, stride);
  check_pairs(kOp, index, asking.images(), asking.places(), answering.places());
  const int64_t queries = index.size(1), neighbors = index.size(2), area = patch_size * patch_size;
  const int64_t values = query.size(1) * (abs_sum ? 1 : area);
  check_shape(kOp, "grad", grad, {index.size(0), queries, neighbors, values});
  const at::Tensor places = index.contiguous(), pair_grads = grad.to(compute_type(query)).contiguous();
  const at::Tensor query_grad = new_map(query, query.sizes()), database_grad = new_map(database, database.sizes());
  const auto inverses = inverse_indices(places, answering.places());
  AT_DISPATCH_FLOATING_TYPES(pair_grads.scalar_type(), kOp, [&] {
    const auto kernels = gather_kernels<scalar_t>(capability());
    const auto kernel = abs_sum ? kernels.add_signs : kernels.add_gradients;
    const auto query_offsets = patch_offsets(asking.image<scalar_t>(0));
    const auto database_offsets = patch_offsets(answering.image<scalar_t>(0));
    const auto pairs_of = [&](int64_t image) {
      return PairLists{nullptr, nullptr, places.const_data_ptr<int64_t>() + image * queries * neighbors, neighbors};
    };
    const auto grads_of = [&](int64_t image) {
      return pair_grads.const_data_ptr<scalar_t>() + image * queries * neighbors * values;
    };
    const int64_t work = neighbors * query.size(1) * patch_size;
    sum_into<scalar_t>(query_grad, work, kernel, [&](int64_t image) {
      return MapSum<scalar_t>{
          nullptr, 0, 0, asking.image<scalar_t>(image), answering.image<scalar_t>(image), database_offsets.data(),
          pairs_of(image), grads_of(image), 1};
    });
    // sign(database - query) is the other way round by itself.
    sum_into<scalar_t>(database_grad, work, kernel, [&](int64_t image) {
      return MapSum<scalar_t>{
          nullptr, 0, 0, answering.image<scalar_t>(image), asking.image<scalar_t>(image), query_offsets.data(),
          inverses[image].lists(), grads_of(image), -1};
    });
  });
  return {finished_map(query_grad, query), finished_map(database_grad, database)};
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, m) {
  m.impl("patch_difference", patch_difference);
  m.impl("patch_difference_backward", patch_difference_backward);
}

}  // namespace msgnn
