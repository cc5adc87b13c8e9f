// Matrix products by oneDNN, one primitive for each shape, dtype, layout and epilogue.

#include "kernels/cpu/plan.h"

#include <oneapi/dnnl/dnnl.hpp>
#ifdef _OPENMP
#include <omp.h>
#endif

#include <array>
#include <map>
#include <optional>
#include <unordered_map>

#include "kernels/cpu/parallel.h"

namespace uvic::cpu {
namespace {

using dnnl::memory;

memory::data_type type_of(DType dtype) {
  return dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

memory::desc layout_of(const Matrix& m) {
  return {{m.rows, m.columns}, type_of(m.dtype), memory::dims{m.row_stride, m.column_stride}};
}

void append_activation(dnnl::post_ops& ops, Activation act) {
  const auto kind = act == Activation::gelu ? dnnl::algorithm::eltwise_gelu_erf : dnnl::algorithm::eltwise_swish;
  const float alpha = act == Activation::quick_gelu ? static_cast<float>(kQuickGelu) : 1.0f;  // of x sigmoid(alpha x)
#if DNNL_VERSION_MAJOR >= 3
  ops.append_eltwise(kind, alpha, 0.0f);
#else
  ops.append_eltwise(1.0f, kind, alpha, 0.0f);
#endif
}

// Empty where oneDNN has no code for these types on this processor.
dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, const memory::desc& a, const memory::desc& b,
                                      const std::optional<memory::desc>& bias, const memory::desc& c,
                                      const dnnl::primitive_attr& attr) {
#if DNNL_VERSION_MAJOR >= 3
  return bias ? dnnl::matmul::primitive_desc(engine, a, b, *bias, c, attr, true)
              : dnnl::matmul::primitive_desc(engine, a, b, c, attr, true);
#else
  const dnnl::matmul::desc d = bias ? dnnl::matmul::desc(a, b, *bias, c) : dnnl::matmul::desc(a, b, c);
  return dnnl::matmul::primitive_desc(d, attr, engine, true);
#endif
}

// Everything a primitive depends on: two products with the same key differ in addresses only.
using Key = std::array<int64_t, 12>;
Key key_of(const Matmul& m) {
  const auto types = static_cast<int64_t>(m.a.dtype) | static_cast<int64_t>(m.c.dtype) << 8 |
                     static_cast<int64_t>(m.residual.dtype) << 16;
  return {m.a.rows,
          m.a.columns,
          m.c.columns,
          m.a.row_stride,
          m.a.column_stride,
          m.b.row_stride,
          m.b.column_stride,
          m.c.row_stride,
          m.residual ? m.residual.row_stride : 0,
          types,
          static_cast<int64_t>(m.act),
          (m.bias ? 1 : 0) | (m.accumulate ? 2 : 0)};
}

// Limits oneDNN's choice of instructions. It listens only until its first primitive is made, in the whole process;
// after that the widest set is used, which is as right, and only matters to timings.
void limit_isa(Isa isa) {
  if (isa < best_isa()) dnnl::set_max_cpu_isa(isa == Isa::avx2 ? dnnl::cpu_isa::avx2 : dnnl::cpu_isa::avx512_core_bf16);
}

}  // namespace

struct Plans::Impl {
  struct Plan {
    dnnl::matmul primitive;  // empty: not offered for bf16, run in f32
    std::unordered_map<int, memory> arguments;
    size_t scratch_bytes = 0;
  };

  explicit Impl(Context& c) : ctx(c), engine(dnnl::engine::kind::cpu, 0), stream(engine) {}

  Plan& find(const Matmul& m);
  Plan make(const Matmul& m);
  void execute(Plan& plan, const Matmul& m);
  void execute_in_f32(const Matmul& m);

  Context& ctx;
  dnnl::engine engine;
  dnnl::stream stream;
  std::map<Key, Plan> plans;
};

Plans::Impl::Plan& Plans::Impl::find(const Matmul& m) {
  const Key key = key_of(m);
  const auto at = plans.find(key);
  return at != plans.end() ? at->second : plans.emplace(key, make(m)).first->second;
}

Plans::Impl::Plan Plans::Impl::make(const Matmul& m) {
  Plan plan;
  dnnl::post_ops ops;
  if (m.accumulate) ops.append_sum(1.0f);
  if (m.act != Activation::none) append_activation(ops, m.act);
  const int residual_at = ops.len();
  if (m.residual) ops.append_binary(dnnl::algorithm::binary_add, layout_of(m.residual));
  dnnl::primitive_attr attr;
  attr.set_post_ops(ops);
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  std::optional<memory::desc> bias;
  if (m.bias) bias = memory::desc({1, m.c.columns}, type_of(m.a.dtype), memory::dims{m.c.columns, 1});

  const auto desc = describe(engine, layout_of(m.a), layout_of(m.b), bias, layout_of(m.c), attr);
  if (!desc) return plan;
  const auto add = [&](int name, const memory::desc& d) { plan.arguments.emplace(name, memory(d, engine, nullptr)); };
  add(DNNL_ARG_SRC, desc.src_desc());
  add(DNNL_ARG_WEIGHTS, desc.weights_desc());
  add(DNNL_ARG_DST, desc.dst_desc());
  add(DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc());
  if (bias) add(DNNL_ARG_BIAS, *bias);
  if (m.residual) add(DNNL_ARG_ATTR_MULTIPLE_POST_OP(residual_at) | DNNL_ARG_SRC_1, layout_of(m.residual));
  plan.scratch_bytes = desc.scratchpad_desc().get_size();
  plan.primitive = dnnl::matmul(desc);
  return plan;
}

void Plans::Impl::execute(Plan& plan, const Matmul& m) {
  for (auto& [name, argument] : plan.arguments) {
    switch (name) {
      case DNNL_ARG_SRC: argument.set_data_handle(m.a.data); break;
      case DNNL_ARG_WEIGHTS: argument.set_data_handle(m.b.data); break;
      case DNNL_ARG_DST: argument.set_data_handle(m.c.data); break;
      case DNNL_ARG_BIAS: argument.set_data_handle(const_cast<void*>(m.bias)); break;
      case DNNL_ARG_SCRATCHPAD: argument.set_data_handle(ctx.arena().allocate(plan.scratch_bytes)); break;
      default: argument.set_data_handle(m.residual.data); break;
    }
  }
  plan.primitive.execute(stream, plan.arguments);
}

// bf16 on a processor for which oneDNN has no bf16 code (below AVX-512): the same product on f32 copies.
void Plans::Impl::execute_in_f32(const Matmul& m) {
  const auto widened = [&](const Matrix& from) {
    if (!from.data || from.dtype == DType::f32) return from;
    const int64_t n = (from.rows - 1) * from.row_stride + (from.columns - 1) * from.column_stride + 1;
    const bf16* in = static_cast<const bf16*>(from.data);
    Matrix to = from;
    to.dtype = DType::f32;
    to.data = ctx.arena().allocate(static_cast<size_t>(n) * sizeof(float));
    float* out = static_cast<float*>(to.data);
    parallel_for(ctx, n, 1 << 14, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = to_float(in[i]);
    });
    return to;
  };
  Matmul wide = m;
  wide.a = widened(m.a);
  wide.b = widened(m.b);
  wide.residual = widened(m.residual);
  if (m.bias) wide.bias = widened({const_cast<void*>(m.bias), m.a.dtype, 1, m.c.columns, m.c.columns, 1}).data;
  if (m.c.dtype == DType::bf16) {
    const Tensor c = ctx.empty(DType::f32, {m.c.rows, m.c.columns});
    wide.c = matrix(c);
  }
  Plan& plan = find(wide);
  UVIC_CHECK(plan.primitive, "matmul: oneDNN offers no f32 product");
  execute(plan, wide);
  if (m.c.dtype != DType::bf16) return;
  parallel_for(ctx, m.c.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* in = static_cast<const float*>(wide.c.data) + i * wide.c.row_stride;
      bf16* out = static_cast<bf16*>(m.c.data) + i * m.c.row_stride;
      for (int64_t j = 0; j < m.c.columns; ++j) out[j] = to_bf16(in[j]);
    }
  });
}

Plans::Plans(Context& ctx) {
  limit_isa(ctx.isa());
  impl_ = std::make_unique<Impl>(ctx);
}

Plans::~Plans() = default;

void Plans::product(const Matmul& m) {
  Context& ctx = impl_->ctx;
#ifdef _OPENMP
  omp_set_num_threads(ctx.threads());  // oneDNN asks OpenMP, both when it plans and when it runs
#endif
  try {
    Impl::Plan& plan = impl_->find(m);
    plan.primitive ? impl_->execute(plan, m) : impl_->execute_in_f32(m);
  } catch (const dnnl::error& e) {
    fail("matmul [", m.a.rows, ", ", m.a.columns, "] by [", m.b.rows, ", ", m.b.columns, "]: oneDNN: ", e.message);
  }
}

}  // namespace uvic::cpu
