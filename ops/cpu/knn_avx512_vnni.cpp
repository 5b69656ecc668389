#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "knn_kernel.h"
#if defined(__x86_64__)
#include "target_avx512_vnni.h"

#define MSGNN_BYTE_PRODUCTS 1
namespace msgnn::avx512_vnni {
#include "vector.h"
#include "knn_kernel.inl"
}  // namespace msgnn::avx512_vnni

#include "target_end.h"
#endif  // x86_64
