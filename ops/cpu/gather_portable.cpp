#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "gather_kernel.h"

#define MSGNN_VECTOR_BYTES 16
namespace msgnn::portable {
#include "vector.h"
#include "gather_kernel.inl"
}  // namespace msgnn::portable
