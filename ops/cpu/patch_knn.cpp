// msgnn_plugin::patch_knn on the CPU: arguments to problems, tiles to threads. The search is in knn_kernel.inl.
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "check_tensor.h"
#include "knn_kernel.h"
#include "map_tensor.h"

namespace msgnn {
namespace {

// Rows and columns looked at for the gain, which may be anything: a sample does.
constexpr int64_t kSampled = 64;

// The greatest of some finite values of a (C, H, W) map.
double sampled_maximum(const at::Tensor& map) {
  const int64_t down = (map.size(1) + kSampled - 1) / kSampled, across = (map.size(2) + kSampled - 1) / kSampled;
  const at::Tensor some = map.slice(1, down / 2, std::nullopt, down).slice(2, across / 2, std::nullopt, across);
  return at::nan_to_num(some.to(at::kDouble), 0.0, 0.0, 0.0).abs().max().item<double>();
}

// A power of two that brings the values of both maps near 1.
double find_gain(const at::Tensor& query, const at::Tensor& database) {
  const double largest = std::max(sampled_maximum(query), sampled_maximum(database));
  return largest > 0 ? std::exp2(clamped(-std::ilogb(largest) - 1, -126, 126)) : 1.0;
}

// Tiles of about equal sides, at most kTileSide, fewer where patches are long, so that a tile's codes stay in cache.
std::vector<KnnTile> tiles_of(int64_t rows, int64_t columns, int64_t patch_values) {
  constexpr int64_t cached_codes = 512 * 1024;
  int64_t side = kTileSide;
  while (side > 8 && side * side * patch_values > cached_codes) side -= 8;
  std::vector<KnnTile> tiles;
  const int64_t down = (rows + side - 1) / side, across = (columns + side - 1) / side;
  for (int64_t i = 0; i < down; ++i) {
    for (int64_t j = 0; j < across; ++j) {
      tiles.push_back({i * rows / down, j * columns / across, (i + 1) * rows / down, (j + 1) * columns / across});
    }
  }
  return tiles;
}

template <typename T>
void search(
    const MapTensor& query, const MapTensor& database, const std::vector<double>& gains, int64_t window,
    const int64_t* origin, at::Tensor& index, at::Tensor& distance) {
  std::vector<KnnProblem<T>> problems;
  for (int64_t b = 0; b < query.images(); ++b) {
    problems.push_back(
        {query.image<T>(b), database.image<T>(b), gains[b], index.size(2), window, origin,
         index[b].mutable_data_ptr<int64_t>(), distance[b].mutable_data_ptr<T>()});
  }
  const auto tiles = tiles_of(query.rows(), query.columns(), problems.front().query.patch_values());
  const int64_t count = static_cast<int64_t>(tiles.size());
  const KnnSearch<T> search_tile = knn_search<T>(capability());
  at::parallel_for(0, query.images() * count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) search_tile(problems[task / count], tiles[task % count]);
  });
}

// What the Python side has checked, but for compiled programs, which skip what depends on values.
void check_arguments(const at::Tensor& query, const at::Tensor& database, int64_t patch_size, int64_t stride) {
  TORCH_CHECK_VALUE(
      query.dim() == 4 && database.dim() == 4 && query.numel() > 0 && database.numel() > 0 &&
          query.sizes().slice(0, 2) == database.sizes().slice(0, 2),
      "patch_knn: `query` and `database` must have shapes (B, C, H, W) and (B, C, H', W') with no empty axis, got ",
      query.sizes(), " and ", database.sizes(), ".");
  TORCH_CHECK_TYPE(
      query.scalar_type() == database.scalar_type() && at::isFloatingType(query.scalar_type()),
      "patch_knn: `database` must have the floating dtype of `query`, ", query.dtype(), ", got ", database.dtype(), ".");
  check_patches("patch_knn", patch_size, stride);
}

void check_origin(const at::Tensor& origin, int64_t queries, int64_t rows, int64_t columns) {
  TORCH_CHECK_TYPE(
      origin.scalar_type() == at::kLong, "patch_knn: `window_origin` must be int64, got ", origin.dtype(), ".");
  check_shape("patch_knn", "window_origin", origin, {queries, 2});
  const int64_t* place = origin.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < queries; ++i, place += 2) {
    TORCH_CHECK_VALUE(
        place[0] >= 0 && place[0] <= rows && place[1] >= 0 && place[1] <= columns,
        "patch_knn: `window_origin` must lie in [0, ", rows, "] x [0, ", columns, "] to stay in the grid, got (",
        place[0], ", ", place[1], ").");
  }
}

std::tuple<at::Tensor, at::Tensor> patch_knn(
    const at::Tensor& query, const at::Tensor& database, int64_t patch_size, int64_t stride, int64_t num_neighbors,
    std::optional<int64_t> window_size, const std::optional<at::Tensor>& window_origin) {
  check_arguments(query, database, patch_size, stride);
  const MapTensor queries(query, patch_size, stride), answers(database, patch_size, stride);
  std::vector<double> gains;
  for (int64_t b = 0; b < query.size(0); ++b) gains.push_back(find_gain(query[b], database[b]));
  int64_t window = 0;
  if (window_size) {
    const int64_t side = minimum(*window_size, minimum(answers.rows(), answers.columns()));
    TORCH_CHECK_VALUE(side >= 1, "patch_knn: `window_size` must be at least 1 or None, got ", *window_size, ".");
    if (side < maximum(answers.rows(), answers.columns())) window = side;
  }
  const int64_t candidates = window != 0 ? window * window : answers.places();
  TORCH_CHECK_VALUE(
      num_neighbors >= 1 && num_neighbors <= candidates, "patch_knn: `num_neighbors` must be in [1, ", candidates,
      "], the number of candidate patches, got ", num_neighbors, ".");
  at::Tensor origin;
  if (window != 0 && window_origin) {
    origin = window_origin->contiguous();
    check_origin(origin, queries.places(), answers.rows() - window, answers.columns() - window);
  }
  const int64_t* places = origin.defined() ? origin.const_data_ptr<int64_t>() : nullptr;
  at::Tensor index = at::empty({query.size(0), queries.places(), num_neighbors}, at::kLong);
  at::Tensor distance = at::empty(index.sizes(), queries.scalar_type());
  if (queries.scalar_type() == at::kDouble) {
    search<double>(queries, answers, gains, window, places, index, distance);
  } else {
    search<float>(queries, answers, gains, window, places, index, distance);
  }
  return {index, distance};
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, library) { library.impl("patch_knn", patch_knn); }

}  // namespace msgnn
