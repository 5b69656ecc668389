// msgnn_plugin::self_similar_patches on the CPU: the candidates' region in float64, their rows to threads, the k best.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <numeric>
#include <tuple>
#include <vector>

#include "msgnn/nearest.h"
#include "self_similar_kernel.h"

namespace msgnn {
namespace {

// The centres of an axis that are candidates.
struct Reach {
  int64_t begin, end;
  int64_t length() const { return end - begin; }
};

Reach reach_of(int64_t anchor, int64_t size, int64_t patch_size, int64_t search_radius) {
  const int64_t half = patch_size / 2;
  TORCH_CHECK_VALUE(
      half <= anchor && anchor < size - half, "self_similar_patches: `anchor` must lie in [", half, ", ",
      size - half - 1, "] along an axis of ", size, " pixels for its patch to lie in the picture, got ", anchor, ".");
  return {maximum(anchor - search_radius, half), minimum(anchor + search_radius, size - half)};
}

// Returns the squared distances of the candidates of one image (C, H, W), row by row, NaN as infinity.
std::vector<double> squared_distances(
    const at::Tensor& image, const int64_t* anchor, Reach rows, Reach columns, int64_t patch_size) {
  const int64_t half = patch_size / 2;
  const auto cut = [&](int64_t row, int64_t row_count, int64_t column, int64_t column_count) {
    return image.narrow(1, row - half, row_count).narrow(2, column - half, column_count);
  };
  const at::Tensor patch = cut(anchor[0], patch_size, anchor[1], patch_size).to(at::kDouble).contiguous();
  // Candidates beyond the last column fill the last block; zeros lie under them.
  const int64_t padded = (columns.length() + kBlockColumns - 1) / kBlockColumns * kBlockColumns;
  const int64_t height = rows.length() + patch_size - 1, width = columns.length() + patch_size - 1;
  const at::Tensor region = at::zeros({image.size(0), height, padded + patch_size - 1}, at::kDouble);
  region.narrow(2, 0, width).copy_(cut(rows.begin, height, columns.begin, width));
  const SelfSimilarProblem problem{
      region.const_data_ptr<double>(), image.size(0), height, region.size(2), patch.const_data_ptr<double>(),
      patch_size, padded};
  const SelfSimilarRow make_row = self_similar_row(capability());
  std::vector<double> distances(rows.length() * columns.length());
  at::parallel_for(0, rows.length(), 1, [&](int64_t begin, int64_t end) {
    std::vector<double> sums(padded);
    for (int64_t row = begin; row < end; ++row) {
      make_row(problem, row, sums.data());
      std::transform(
          sums.begin(), sums.begin() + columns.length(), distances.begin() + row * columns.length(), ranked_distance);
    }
  });
  return distances;
}

// Writes the nearest candidates' numbers to the front of `order`.
void rank(const std::vector<double>& distances, int64_t num_neighbors, std::vector<int64_t>& order) {
  order.resize(distances.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + num_neighbors, order.end(), [&](int64_t one, int64_t other) {
    return ranks_before(distances[one], one, distances[other], other);
  });
}

// What the Python side has checked, but for compiled programs, which skip what depends on values.
void check_arguments(
    const at::Tensor& image, const at::Tensor& anchor, int64_t num_neighbors, int64_t patch_size,
    int64_t search_radius) {
  TORCH_CHECK_VALUE(
      image.dim() == 4 && image.numel() > 0,
      "self_similar_patches: `image` must have shape (B, C, H, W) with no empty axis, got ", image.sizes(), ".");
  TORCH_CHECK_TYPE(
      at::isFloatingType(image.scalar_type()), "self_similar_patches: `image` must be a floating-point tensor, got ",
      image.dtype(), ".");
  TORCH_CHECK_TYPE(
      anchor.scalar_type() == at::kLong, "self_similar_patches: `anchor` must be int64, got ", anchor.dtype(), ".");
  TORCH_CHECK_VALUE(
      anchor.dim() == 2 && anchor.size(0) == image.size(0) && anchor.size(1) == 2,
      "self_similar_patches: `anchor` must have shape (B, 2) = (", image.size(0), ", 2), got ", anchor.sizes(), ".");
  TORCH_CHECK_VALUE(
      patch_size >= 1 && search_radius >= 1 && num_neighbors >= 1,
      "self_similar_patches: `patch_size`, `search_radius` and `num_neighbors` must be at least 1, got ", patch_size,
      ", ", search_radius, " and ", num_neighbors, ".");
}

std::tuple<at::Tensor, at::Tensor> self_similar_patches(
    const at::Tensor& image, const at::Tensor& anchor, int64_t num_neighbors, int64_t patch_size,
    int64_t search_radius) {
  check_arguments(image, anchor, num_neighbors, patch_size, search_radius);
  const at::Tensor anchors = anchor.contiguous();
  const at::Tensor centres = at::empty({image.size(0), num_neighbors, 2}, at::kLong);
  const at::Tensor distance = at::empty({image.size(0), num_neighbors}, at::kDouble);
  std::vector<Reach> reaches;  // rows and columns of each image
  for (int64_t b = 0; b < image.size(0); ++b) {
    const int64_t* place = anchors.const_data_ptr<int64_t>() + 2 * b;
    reaches.push_back(reach_of(place[0], image.size(2), patch_size, search_radius));
    reaches.push_back(reach_of(place[1], image.size(3), patch_size, search_radius));
    const int64_t candidates = reaches[2 * b].length() * reaches[2 * b + 1].length();
    TORCH_CHECK_VALUE(
        num_neighbors <= candidates, "self_similar_patches: `num_neighbors` must be at most ", candidates,
        ", the number of candidates of the anchor [", place[0], ", ", place[1], "], got ", num_neighbors, ".");
  }
  // Whole images to threads, so that they meet once; a single image's rows are shared out instead.
  at::parallel_for(0, image.size(0), 1, [&](int64_t first, int64_t last) {
    std::vector<int64_t> order;
    for (int64_t b = first; b < last; ++b) {
      const Reach rows = reaches[2 * b], columns = reaches[2 * b + 1];
      const std::vector<double> distances =
          squared_distances(image[b], anchors.const_data_ptr<int64_t>() + 2 * b, rows, columns, patch_size);
      rank(distances, num_neighbors, order);
      int64_t* centre = centres.mutable_data_ptr<int64_t>() + 2 * b * num_neighbors;
      double* nearest = distance.mutable_data_ptr<double>() + b * num_neighbors;
      for (int64_t k = 0; k < num_neighbors; ++k) {
        centre[2 * k] = rows.begin + order[k] / columns.length();
        centre[2 * k + 1] = columns.begin + order[k] % columns.length();
        nearest[k] = distances[order[k]];
      }
    }
  });
  return {centres, distance.to(image.scalar_type() == at::kDouble ? at::kDouble : at::kFloat)};
}

}  // namespace

TORCH_LIBRARY_IMPL(msgnn_plugin, CPU, library) { library.impl("self_similar_patches", self_similar_patches); }

}  // namespace msgnn
