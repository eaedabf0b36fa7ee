// Products of sizes that do not overflow.
#pragma once

#include <cstddef>
#include <initializer_list>

namespace fmedge {

inline bool multiplied(std::initializer_list<size_t> factors, size_t &product) {
    product = 1;
    for (const size_t factor : factors) {
        if (__builtin_mul_overflow(product, factor, &product)) return false;
    }
    return true;
}

}  // namespace fmedge
