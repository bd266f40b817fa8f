"""Each operation as source text: one row of ROWS for each record of the table, in the subset that C and JavaScript
share. Values at the edges are those of `ieee.py`; `language.py` says what differs between the two languages.
"""

from __future__ import annotations

from .. import ops
from ..op import Op

_OF_C = (
    ops.floor, ops.exp, ops.expm1, ops.exp2, ops.log, ops.log1p, ops.log2, ops.log10, ops.sqrt, ops.sin, ops.cos,
    ops.tan, ops.asin, ops.acos, ops.atan, ops.sinh, ops.cosh, ops.tanh, ops.asinh, ops.acosh, ops.atanh, ops.erf,
    ops.sigmoid,
)  # fmt: skip
OF_ARRAYS = (ops.maximum, ops.minimum, ops.pick, ops.logsumexp, ops.cross_entropy)
SUMS = (ops.dot, ops.total, ops.mean)
# an expression of the operands {0}, {1}, ...; of an operation on any number of operands the name of a helper, which
# takes them as an array and its length. None: a sum, which is written as a loop
ROWS: dict[Op, str | None] = {
    **{op: op.name + "({0})" for op in _OF_C}, **{op: op.name for op in OF_ARRAYS}, **dict.fromkeys(SUMS),
    **{op: f"{{0}} {op.symbol} {{1}}" for op in (ops.add, ops.sub, ops.mul, ops.div)},
    **{op: f"{{0}} {op.symbol} {{1}} ? 1.0 : 0.0" for op in (ops.equal, ops.less, ops.less_equal)},
    **{op: op.name + "({0}, {1})" for op in (ops.power, ops.hypot, ops.atan2, ops.exp_difference)},
    ops.mod: "modulo({0}, {1})",
    ops.floor_div: "floor_quotient({0}, {1})",
    ops.neg: "-{0}",
    ops.abs_: "fabs({0})",
    ops.round_: "rint({0})",
    ops.cbrt: "cube_root({0})",
    ops.softplus: "({0} < 0.0 ? 0.0 : {0}) + log1p(exp(-fabs({0})))",
    ops.relu: "{0} <= 0.0 ? 0.0 : {0}",
    ops.leaky_relu: "{0} > 0.0 ? {0} : {1} * {0}",
    ops.sign: "{0} < 0.0 ? -1.0 : {0} > 0.0 ? 1.0 : {0}",
    ops.step: "{0} > 0.0 ? 1.0 : {0} <= 0.0 ? 0.0 : {0}",
    ops.where: "{0} != 0.0 ? {1} : {2}",
    ops.clip: "clip({0}, {1}, {2})",
    ops.detach: "{0}",
}  # fmt: skip
# whose operands are read in a loop, where they are side by side in memory
IN_ROWS = frozenset({*OF_ARRAYS, *SUMS}) - {ops.pick}

_EXTREME = """
static real {name}(const real *xs, int n) {{
  real found = xs[0];
  for (int i = 1; i < n; i++) {{
    if (xs[i] {better} found || xs[i] != xs[i]) found = xs[i];
  }}
  return found;
}}"""

HELPERS: dict[str, str] = {
    "power": """
static real power(real x, real n) {
  return n == 2.0 ? x * x : pow(x, n);
}""",
    "modulo": """
static real modulo(real a, real b) {
  real r = fmod(a, b);
  if (r == 0.0) return copysign(0.0, b);
  return (r < 0.0) != (b < 0.0) ? r + b : r;
}""",
    "floor_quotient": """
static real floor_quotient(real a, real b) {
  real r = fmod(a, b);
  real q = (a - r) / b;
  if (b == 0.0) return a / b;
  if (r != 0.0 && (r < 0.0) != (b < 0.0)) q = q - 1.0;
  if (q == 0.0) return copysign(0.0, a / b);
  return q - floor(q) > 0.5 ? floor(q) + 1.0 : floor(q);
}""",
    "cube_root": """
static real cube_root(real x) {
  real y = cbrt(x);
  return y != 0.0 && y - y == 0.0 ? y - (y - x / (y * y)) / 3.0 : y;
}""",
    "sigmoid": """
static real sigmoid(real x) {
  real e = exp(-fabs(x));
  return x < 0.0 ? e / (1.0 + e) : 1.0 / (1.0 + e);
}""",
    "clip": """
static real clip(real x, real low, real high) {
  real y = low > x || low != low ? low : x;
  return high < y || high != high ? high : y;
}""",
    "exp_difference": """
static real exp_difference(real a, real b) {
  real d = a - b;
  real e = exp(d);
  real back = d - a;
  if (!(e > 0.0 && e < INFINITY)) return e;
  return e + e * ((a - (d - back)) - (b + back));
}""",
    "maximum": _EXTREME.format(name="maximum", better=">"),
    "minimum": _EXTREME.format(name="minimum", better="<"),
    "pick": """
static real pick(const real *xs, int n) {
  for (int i = 1; i < n; i++) {
    if (xs[0] == i - 1) return xs[i];
  }
  return NAN;
}""",
    "log_rest": """
static real log_rest(const real *xs, int n, real largest) {
  real sum = 0.0;
  int first = 1;
  for (int i = 0; i < n; i++) {
    if (first == 1 && xs[i] == largest) first = 0;
    else sum = sum + exp_difference(xs[i], largest);
  }
  return log1p(sum);
}""",
    "logsumexp": """
static real logsumexp(const real *xs, int n) {
  real largest = maximum(xs, n);
  return largest - largest == 0.0 ? largest + log_rest(xs, n, largest) : largest;
}""",
    "cross_entropy": """
static real cross_entropy(const real *xs, int n) {
  real largest = maximum(xs, n - 1);
  real x = NAN;
  int infinite = 0;
  for (int i = 0; i < n - 1; i++) {
    if (xs[n - 1] == i) x = xs[i];
    if (xs[i] == INFINITY) infinite++;
  }
  if (largest - largest != 0.0) return x == largest && infinite == 1 ? 0.0 : largest - x;
  return x == largest ? log_rest(xs, n - 1, largest) : (largest - x) + log_rest(xs, n - 1, largest);
}""",
}
