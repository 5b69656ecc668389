// A stable sort of the pairs by place: no counter is shared, so the order never varies.
#include <cub/device/device_radix_sort.cuh>

#include "inverse_index.cuh"

namespace msgnn {
namespace {

struct NumberPairs {
  const int64_t* index;
  int64_t pairs_per_image, places, count;
  int64_t* key;
  int64_t* number;

  __device__ void operator()(int64_t part, int lane) const {
    const int64_t pair = part * kWarp + lane;
    if (pair >= count) return;
    key[pair] = quotient(pair, pairs_per_image) * places + index[pair];
    number[pair] = pair;
  }
};

struct FindStarts {
  const int64_t* key;
  int64_t pairs, count;
  int64_t* start;

  __device__ void operator()(int64_t part, int lane) const {
    const int64_t place = part * kWarp + lane;
    if (place < count) start[place] = first_not_below(key, pairs, place);
  }
};

int64_t parts(int64_t count) { return (count + kWarp - 1) / kWarp; }

}  // namespace

InverseIndex::InverseIndex(const std::string& op, const OnDevice& device, const Tensor& index, int64_t places)
    : index_(index),
      start_(new_tensor(index, {index.size(0) * places + 1}, ScalarType::Long)),
      number_(new_tensor(index, {index.numel()}, ScalarType::Long)) {
  const int64_t pairs = index.numel(), keys = index.size(0) * places;
  const Tensor unsorted = new_tensor(index, {pairs}, ScalarType::Long);
  const Tensor in_order = new_tensor(index, {pairs}, ScalarType::Long);
  const Tensor sorted = new_tensor(index, {pairs}, ScalarType::Long);
  launch_warps(
      op, device, parts(pairs),
      NumberPairs{
          index.const_data_ptr<int64_t>(), index.size(1) * index.size(2), places, pairs,
          unsorted.mutable_data_ptr<int64_t>(), in_order.mutable_data_ptr<int64_t>()});
  int bits = 1;
  while (keys >> bits != 0) ++bits;
  const auto sort = [&](void* room, size_t& bytes) {
    check_launch(
        op, cub::DeviceRadixSort::SortPairs(
                room, bytes, unsorted.const_data_ptr<int64_t>(), sorted.mutable_data_ptr<int64_t>(),
                in_order.const_data_ptr<int64_t>(), number_.mutable_data_ptr<int64_t>(), pairs, 0, bits,
                device.stream()));
  };
  size_t bytes = 0;
  sort(nullptr, bytes);
  const Tensor room = new_tensor(index, {static_cast<int64_t>(bytes)}, ScalarType::Byte);
  sort(room.mutable_data_ptr(), bytes);
  launch_warps(
      op, device, parts(keys + 1),
      FindStarts{sorted.const_data_ptr<int64_t>(), pairs, keys + 1, start_.mutable_data_ptr<int64_t>()});
}

PairsOfPlaces InverseIndex::pairs() const {
  return {
      start_.const_data_ptr<int64_t>(), number_.const_data_ptr<int64_t>(), index_.const_data_ptr<int64_t>(),
      index_.size(2), index_.size(1)};
}

}  // namespace msgnn
