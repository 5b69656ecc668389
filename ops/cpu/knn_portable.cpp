#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "knn_kernel.h"

#define MSGNN_VECTOR_BYTES 16
#define MSGNN_BYTE_PRODUCTS 0
namespace msgnn::portable {
#include "vector.h"
#include "knn_kernel.inl"
}  // namespace msgnn::portable
