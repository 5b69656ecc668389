// msgnn_plugin::patch_knn on the GPU. The search is in msgnn/block_search.h.
#include "msgnn/block_search.h"
#include "tensors.cuh"

namespace msgnn {
namespace {

const std::string kOp = "patch_knn";

// The threads of a block, see block_search.h.
template <typename T>
struct BlockThreads {
  PairSums<T> sums;

  template <typename Work>
  MSGNN_HOST_DEVICE void operator()(const Work& work) {
#ifdef __CUDA_ARCH__
    work(static_cast<int>(threadIdx.x), sums);
    __syncthreads();
#endif
  }
};

template <typename T>
__global__ void __launch_bounds__(kBlockThreads)
    search_tiles(const __grid_constant__ BlockSearch<T> problem, int64_t tiles_down, int64_t tiles_across) {
  __shared__ BlockMemory<T> memory;
  static_assert(sizeof(memory) <= 48 * 1024, "what a block may have without asking");
  const int64_t line = quotient(blockIdx.x, tiles_across), image = quotient(line, tiles_down);
  const int64_t row = (line - image * tiles_down) * kTileRows;
  const int64_t column = (blockIdx.x - line * tiles_across) * kTileColumns;
  BlockThreads<T> threads;
  BlockSearcher<T, BlockThreads<T>>(problem, image, row, column, memory, threads).search();
}

std::tuple<Tensor, Tensor> patch_knn(
    const Tensor& query, const Tensor& database, int64_t patch_size, int64_t stride, int64_t num_neighbors,
    std::optional<int64_t> window_size, std::optional<Tensor> window_origin) {
  check_patches(kOp, patch_size, stride);
  check_map(kOp, "query", query);
  check_map(kOp, "database", database);
  check_same_kind(kOp, "database", database, "query", query);
  check_shape(kOp, "database", database, {query.size(0), query.size(1), database.size(2), database.size(3)});
  const OnDevice device(query);
  const MapTensor asking(query, patch_size, stride), answering(database, patch_size, stride);
  const int64_t rows = grid_length(database.size(2), patch_size, stride);
  const int64_t columns = grid_length(database.size(3), patch_size, stride);
  int64_t window = 0;
  if (window_size) {
    const int64_t side = minimum(*window_size, minimum(rows, columns));
    require(side >= 1, kOp + ": `window_size` must be at least 1 or None, got " + std::to_string(*window_size) + ".");
    if (side < maximum(rows, columns)) window = side;
  }
  const int64_t candidates = window ? window * window : rows * columns;
  require(
      1 <= num_neighbors && num_neighbors <= candidates, kOp + ": `num_neighbors` must be in [1, " +
          std::to_string(candidates) + "], the number of candidate patches, got " + std::to_string(num_neighbors) + ".");
  std::optional<Tensor> origin;
  if (window && window_origin) {
    check_shape(kOp, "window_origin", *window_origin, {asking.places(), 2});
    require(
        window_origin->scalar_type() == ScalarType::Long && window_origin->is_cuda(),
        kOp + ": `window_origin` must be int64 on the device of the maps.");
    origin = torch::stable::contiguous(*window_origin);
  }
  const std::vector<int64_t> shape{query.size(0), asking.places(), num_neighbors};
  const Tensor index = new_tensor(query, shape, ScalarType::Long);
  const Tensor distance = new_tensor(query, shape, ScalarType::Double);
  with_type_of(compute_type(query), [&](auto zero) {
    using T = decltype(zero);
    const BlockSearch<T> problem{
        asking.view<T>(), answering.view<T>(), num_neighbors, window,
        origin ? origin->const_data_ptr<int64_t>() : nullptr, index.mutable_data_ptr<int64_t>(),
        distance.mutable_data_ptr<double>()};
    const int64_t down = (problem.query.rows + kTileRows - 1) / kTileRows;
    const int64_t across = (problem.query.columns + kTileColumns - 1) / kTileColumns;
    const int64_t blocks = query.size(0) * down * across;
    require(blocks < INT64_C(1) << 31, kOp + ": the maps have too many patches for one launch.");
    search_tiles<T><<<static_cast<unsigned>(blocks), kBlockThreads, 0, device.stream()>>>(problem, down, across);
    check_launch(kOp, cudaGetLastError());
  });
  return {index, with_type(distance, compute_type(query))};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(msgnn_plugin, CUDA, library) { library.impl("patch_knn", TORCH_BOX(&patch_knn)); }

}  // namespace msgnn
