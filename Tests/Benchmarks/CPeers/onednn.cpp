// oneDNN's int8 product, the measure of what the machine can multiply.
#include <chrono>
#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>

#include "CPeers.h"

using dnnl::matmul;
using dnnl::memory;
using type = memory::data_type;

static matmul::primitive_desc describe(
    const dnnl::engine &engine, const memory::desc &left, const memory::desc &right, const memory::desc &product) {
#if DNNL_VERSION_MAJOR >= 3
  return matmul::primitive_desc(engine, left, right, product);
#else
  return matmul::primitive_desc(matmul::desc(left, right, product), engine);
#endif
}

double cpeers_onednn_seconds(size_t m, size_t n, size_t k, int rounds) {
  try {
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    dnnl::stream stream(engine);
    const auto rows = static_cast<memory::dim>(m), columns = static_cast<memory::dim>(n), depth = static_cast<memory::dim>(k);
    const memory::desc left({rows, depth}, type::u8, memory::format_tag::ab),
        any({depth, columns}, type::s8, memory::format_tag::any), product({rows, columns}, type::s32, memory::format_tag::ab);
    const auto about = describe(engine, left, any, product);
    memory a(left, engine), b(about.weights_desc(), engine), c(product, engine);
    auto fill = [](const memory &of, size_t count) {
      auto *at = static_cast<uint8_t *>(of.get_data_handle());
      for (size_t i = 0; i < count; i++) at[i] = static_cast<uint8_t>(i * 7 + i / 251);
    };
    fill(a, m * k);
    fill(b, about.weights_desc().get_size());
    const matmul primitive(about);
    double least = -1;
    for (int round = 0; round < rounds + 1; round++) {
      const auto start = std::chrono::steady_clock::now();
      primitive.execute(stream, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}});
      stream.wait();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      // The first round generates code.
      if (round > 0 && (least < 0 || seconds.count() < least)) least = seconds.count();
    }
    return least;
  } catch (const std::exception &) {
    return -1;
  }
}
