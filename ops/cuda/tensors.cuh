// What the GPU's kernels share on the side of torch, through its stable interface: maps, checks, launches.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/device.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "msgnn/strided_map.h"

// torch's headers declare it in builds with CUDA only. libtorch has it where there is a GPU to use.
extern "C" AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index, void** ret_stream);

namespace msgnn {

using torch::headeronly::Layout;
using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// The Python side has checked the arguments; these guard the memory where an op is called without it.
inline void require(bool holds, const std::string& message) {
  if (!holds) throw std::runtime_error(message);
}

inline std::string written(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

inline std::vector<int64_t> shape_of(const Tensor& tensor) {
  const auto sizes = tensor.sizes();
  return {sizes.begin(), sizes.end()};
}

inline void check_shape(
    const std::string& op, const std::string& name, const Tensor& tensor, const std::vector<int64_t>& shape) {
  require(
      shape_of(tensor) == shape,
      op + ": `" + name + "` must have shape " + written(shape) + ", got " + written(shape_of(tensor)) + ".");
}

inline void check_patches(const std::string& op, int64_t patch_size, int64_t stride) {
  require(patch_size >= 1, op + ": `patch_size` must be at least 1, got " + std::to_string(patch_size) + ".");
  require(stride >= 1, op + ": `stride` must be at least 1, got " + std::to_string(stride) + ".");
}

inline void check_map(const std::string& op, const std::string& name, const Tensor& map) {
  require(
      map.dim() == 4 && map.numel() > 0, op + ": `" + name +
          "` must have shape (B, C, H, W) with no empty axis, got " + written(shape_of(map)) + ".");
}

inline void check_same_kind(
    const std::string& op, const std::string& name, const Tensor& tensor, const std::string& like_name,
    const Tensor& like) {
  require(
      tensor.scalar_type() == like.scalar_type() && tensor.is_cuda() &&
          tensor.get_device_index() == like.get_device_index(),
      op + ": `" + name + "` must have the dtype and device of `" + like_name + "`.");
}

// Half precisions are computed in float32.
inline ScalarType compute_type(const Tensor& map) {
  return map.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

inline Tensor with_type(const Tensor& tensor, ScalarType type) {
  return tensor.scalar_type() == type ? tensor : torch::stable::to(tensor, type);
}

inline Tensor new_tensor(
    const Tensor& like, const std::vector<int64_t>& shape, ScalarType type,
    std::optional<MemoryFormat> format = std::nullopt) {
  return torch::stable::empty(
      {shape.data(), shape.size()}, type, Layout::Strided, like.device(), std::nullopt, format);
}

// The layout of a map that belongs to another, by the rule of `memory_format_like` in gather.py.
inline MemoryFormat format_like(const Tensor& map) {
  return map.size(1) > 1 && map.stride(1) == 1 ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

inline Tensor new_map(const Tensor& like, const std::vector<int64_t>& shape) {
  return new_tensor(like, shape, compute_type(like), format_like(like));
}

template <typename T, typename V = T>
StridedMap<V> strided_map(const Tensor& map, int64_t patch_size, int64_t stride) {
  const auto sizes = map.sizes(), strides = map.strides();
  return {static_cast<V*>(map.data_ptr()), sizes.data(), strides.data(), patch_size, stride};
}

// A map in float32 or float64 whose channels are neighbours, so that a warp reads whole lines.
class MapTensor {
 public:
  MapTensor(const Tensor& map, int64_t patch_size, int64_t stride)
      : patch_size_(patch_size), stride_(stride), values_(with_type(map, compute_type(map))) {
    if (map.size(1) > 1 && values_.stride(1) != 1) {
      values_ = torch::stable::contiguous(values_, MemoryFormat::ChannelsLast);
    }
  }

  // T must be the C++ type of the values. Valid as long as this object lives.
  template <typename T>
  StridedMap<const T> view() const {
    return strided_map<T, const T>(values_, patch_size_, stride_);
  }

  int64_t places() const {
    return grid_length(values_.size(2), patch_size_, stride_) * grid_length(values_.size(3), patch_size_, stride_);
  }

 private:
  int64_t patch_size_, stride_;
  Tensor values_;
};

inline int64_t item(const Tensor& one) {
  return *torch::stable::to(one, torch::stable::Device("cpu")).const_data_ptr<int64_t>();
}

// Waits for the GPU, as the plain PyTorch path does.
inline void check_pairs(
    const std::string& op, const Tensor& index, const Tensor& like, int64_t images, int64_t queries, int64_t places) {
  require(
      index.scalar_type() == ScalarType::Long && index.is_cuda() && index.get_device_index() == like.get_device_index(),
      op + ": `index` must be int64 on the device of the maps.");
  require(
      index.dim() == 3 && index.size(0) == images && index.size(1) == queries && index.size(2) >= 1,
      op + ": `index` must have shape (B, M, K) = (" + std::to_string(images) + ", " + std::to_string(queries) +
          ", K >= 1), got " + written(shape_of(index)) + ".");
  std::array<StableIValue, 3> stack{
      torch::stable::detail::from(index), torch::stable::detail::from(std::optional<int64_t>()),
      torch::stable::detail::from(false)};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::aminmax", "", stack.data(), TORCH_ABI_VERSION));
  const int64_t low = item(torch::stable::detail::to<Tensor>(stack[0]));
  const int64_t high = item(torch::stable::detail::to<Tensor>(stack[1]));
  require(
      low >= 0 && high < places, op + ": `index` must lie in [0, " + std::to_string(places - 1) +
          "], the database's places, got " + std::to_string(low) + " to " + std::to_string(high) + ".");
}

// Makes a tensor's device current, for torch and for the CUDA runtime that is linked into this library.
class OnDevice {
 public:
  explicit OnDevice(const Tensor& tensor) : guard_(tensor.get_device_index()) {
    require(cudaSetDevice(tensor.get_device_index()) == cudaSuccess, "msgnn_plugin: the GPU cannot be used.");
    void* stream = nullptr;
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }

  cudaStream_t stream() const { return stream_; }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

inline void check_launch(const std::string& op, cudaError_t error) {
  require(error == cudaSuccess, op + ": the GPU refused its kernel: " + cudaGetErrorString(error) + ".");
}

// Calls work(type) with a value of the C++ type that the tensors have.
template <typename Work>
void with_type_of(ScalarType type, const Work& work) {
  if (type == ScalarType::Double) {
    work(double());
  } else {
    work(float());
  }
}

constexpr int kWarp = 32, kWarpsPerBlock = 4;

template <typename Work>
__global__ void __launch_bounds__(kWarp * kWarpsPerBlock) run_warps(const __grid_constant__ Work work, int64_t count) {
  const int64_t number = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.y;
  if (number < count) work(number, static_cast<int>(threadIdx.x));
}

// Calls work(number, lane) on the GPU for `count` numbers, a warp each.
template <typename Work>
void launch_warps(const std::string& op, const OnDevice& device, int64_t count, const Work& work) {
  if (count == 0) return;
  const int64_t blocks = (count + kWarpsPerBlock - 1) / kWarpsPerBlock;
  require(blocks < INT64_C(1) << 31, op + ": the maps have too many pixels for one launch.");
  run_warps<<<static_cast<unsigned>(blocks), dim3(kWarp, kWarpsPerBlock), 0, device.stream()>>>(work, count);
  check_launch(op, cudaGetLastError());
}

// Where the pixel of a number lies.
struct PixelPlace {
  int64_t image, y, x;

  template <typename T>
  __device__ PixelPlace(const StridedMap<T>& map, int64_t number) {
    const int64_t line = quotient(number, map.width);
    x = number - line * map.width;
    image = quotient(line, map.height);
    y = line - image * map.height;
  }
};

}  // namespace msgnn
