// What the CPU kernels of patch_difference and patch_aggregate share on the side of torch.
#pragma once

#include <ATen/Parallel.h>

#include <string>
#include <vector>

#include "check_tensor.h"
#include "gather_pairs.h"
#include "map_tensor.h"

namespace msgnn {

inline void check_pairs(const char* op, const at::Tensor& index, int64_t images, int64_t queries, int64_t places) {
  TORCH_CHECK_TYPE(index.scalar_type() == at::kLong, op, ": `index` must be int64, got ", index.dtype(), ".");
  TORCH_CHECK_VALUE(
      index.dim() == 3 && index.size(0) == images && index.size(1) == queries && index.size(2) >= 1, op,
      ": `index` must have shape (B, M, K) = (", images, ", ", queries, ", K >= 1), got ", index.sizes(), ".");
  const auto [least, largest] = at::aminmax(index);
  const int64_t low = least.item<int64_t>(), high = largest.item<int64_t>();
  TORCH_CHECK_INDEX(
      low >= 0 && high < places, op, ": `index` must lie in [0, ", places - 1, "], the database's places, got ", low,
      " to ", high, ".");
}

// An uninitialised map for kernels to write: channels last, float32 or float64.
inline at::Tensor new_map(const at::Tensor& like, at::IntArrayRef shape) {
  return at::empty(shape, like.options().dtype(compute_type(like)).memory_format(at::MemoryFormat::ChannelsLast));
}

// Gives a map the type and the layout of another, by the rule of `memory_format_like` in gather.py.
inline at::Tensor finished_map(const at::Tensor& map, const at::Tensor& like) {
  const bool channels_last = like.size(1) > 1 && like.stride(1) == 1;
  return map.to(like.scalar_type())
      .contiguous(channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
}

// Calls work(image, begin, end) in parallel over ranges of rows of all images; `row_values` tells the work of a row.
template <typename Work>
void for_rows(int64_t images, int64_t rows, int64_t row_values, const Work& work) {
  const int64_t grain = maximum(1, 32768 / maximum(1, row_values));
  at::parallel_for(0, images * rows, grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t image = begin / rows, stop = minimum(end, (image + 1) * rows);
      work(image, begin - image * rows, stop - image * rows);
      begin = stop;
    }
  });
}

inline std::vector<InverseIndex> inverse_indices(const at::Tensor& index, int64_t places) {
  const int64_t queries = index.size(1), neighbors = index.size(2);
  std::vector<InverseIndex> inverses(index.size(0));
  at::parallel_for(0, index.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) {
      const int64_t* start = index.const_data_ptr<int64_t>() + image * queries * neighbors;
      inverses[image] = InverseIndex(start, queries, neighbors, places);
    }
  });
  return inverses;
}

// Fills `out`, a new_map, row by row. `problem_of(image)` gives everything but `out`, `height` and `width`.
template <typename T, typename ProblemOf>
void sum_into(
    const at::Tensor& out, int64_t patch_values, void (*kernel)(const MapSum<T>&, int64_t, int64_t),
    const ProblemOf& problem_of) {
  const int64_t channels = out.size(1), height = out.size(2), width = out.size(3);
  T* data = out.mutable_data_ptr<T>();
  for_rows(out.size(0), height, width * patch_values, [&](int64_t image, int64_t begin, int64_t end) {
    MapSum<T> problem = problem_of(image);
    problem.out = data + image * height * width * channels;
    problem.height = height, problem.width = width;
    kernel(problem, begin, end);
  });
}

}  // namespace msgnn
