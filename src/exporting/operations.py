"""What the graph of a .pt2 file may call, how it may write sizes, and what is said of all else.

Sizes such as 3*s14 are texts that sympy evaluates as Python.
"""

import ast
import re

import torch

# Of ATen: what networks are made of. None takes the name of a file (from_file does), or gives memory that was another's
# (empty does).
OPERATIONS = """
__and__ __or__ __xor__ _assert_tensor_metadata _scaled_dot_product_flash_attention_for_cpu _softmax _log_softmax
_native_batch_norm_legit _native_batch_norm_legit_no_training _to_copy _unsafe_view abs acos adaptive_avg_pool1d
adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d add addcdiv addcmul addmm alias all alpha_dropout amax
amin any arange argmax argmin argsort asin atan atan2 avg_pool1d avg_pool2d baddbmm batch_norm bernoulli
bitwise_and bitwise_not bitwise_or bitwise_xor bmm broadcast_tensors cat ceil celu channel_shuffle chunk clamp
clamp_max clamp_min clone concat constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose2d convolution copy
cos cosh cumprod cumsum detach diagonal div dot dropout einsum elu embedding eq erf erfc exp exp2
expand expand_as expm1 eye feature_dropout fill flatten flip floor floor_divide fmod frac full full_like gather ge
gelu glu grid_sampler_2d group_norm gt hardshrink hardsigmoid hardswish hardtanh index index_select instance_norm
interpolate isfinite isinf isnan item layer_norm le leaky_relu lerp lift_fresh_copy linalg_norm
linalg_vector_norm linear linspace log log10 log1p log2 log_sigmoid log_softmax logical_and logical_not logical_or
logical_xor logit logsumexp lt masked_fill matmul matrix_H max max_pool1d max_pool2d max_pool2d_with_indices maximum
mean meshgrid min minimum mish mm movedim mul mv narrow native_dropout native_group_norm native_layer_norm ne neg
new_full new_ones new_zeros nonzero norm numpy_T one_hot ones ones_like pad permute pixel_shuffle pixel_unshuffle
pow prelu prod ravel reciprocal relu relu6 remainder repeat repeat_interleave reshape roll round rsqrt rsub
scalar_tensor scaled_dot_product_attention scatter scatter_add select selu sigmoid sign silu sin sinh slice softmax
softmin softplus softsign sort split split_with_sizes sqrt square squeeze stack std sub sum swapaxes swapdims
sym_constrain_range sym_constrain_range_for_size sym_numel sym_size sym_stride t tan tanh tanhshrink threshold tile
to topk transpose tril triu true_divide trunc type_as unbind unflatten unfold unsqueeze upsample_bicubic2d
upsample_bilinear2d upsample_nearest2d _upsample_bicubic2d_aa _upsample_bilinear2d_aa var var_mean view view_as where
zero zeros zeros_like
"""
OF_TORCHVISION = ["nms.default", "roi_align.default"]  # what a detector chooses its boxes with
OF_SIZES = """
_operator.add _operator.sub _operator.mul _operator.floordiv _operator.truediv _operator.mod _operator.neg
_operator.eq _operator.ne _operator.lt _operator.le _operator.gt _operator.ge _operator.and_ _operator.or_
_operator.not_ _operator.getitem math.ceil math.floor math.trunc torch.sym_float torch.sym_max torch.sym_min
torch.sym_not
"""
FUNCTIONS = """
Add And CeilDiv CeilToInt CleanDiv Eq Equality Float FloatTrueDiv FloorDiv FloorToInt Ge GreaterThan Gt Identity
IntTrueDiv Integer Le LessThan Lt Max Min Mod ModularIndexing Mul Ne Not Or PythonMod Rational RoundToInt
StrictGreaterThan StrictLessThan ToFloat TruncToFloat TruncToInt Unequality Where
"""
SYMBOL = re.compile(r"[suz]f?\d{1,9}")
LONGEST_EXPRESSION = 2000


class UncheckedPart(Exception):
    """A part of the file that could run code, or that nobody has looked at; its text says what it is."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise UncheckedPart(what)


def shown(text: str) -> str:
    return repr(text[:80])


def operation(text: str) -> None:
    """One of ATen's that is listed above, with an overload that it has; or arithmetic with sizes; or for boxes."""
    if text in OF_SIZES.split() or text in [f"torch.ops.torchvision.{name}" for name in OF_TORCHVISION]:
        return
    found = re.fullmatch(r"torch\.ops\.aten\.(\w+)\.([A-Za-z]\w*)", text, re.ASCII)
    what = f"the operation {shown(text)}"
    if found is None or {found[1], found[1].removesuffix("_")}.isdisjoint(OPERATIONS.split()):
        raise UncheckedPart(what)
    require(hasattr(torch.ops.aten, found[1]) and found[2] in getattr(torch.ops.aten, found[1]).overloads(), what)


def expression(text: str) -> None:
    """Sums, products and the like of sizes (s14) and whole numbers: sympy evaluates the text as Python."""
    what = f"a size that is no plain arithmetic: {shown(text)}"
    require(len(text) <= LONGEST_EXPRESSION and re.fullmatch(r"[\w ,()'=+*/%<>!-]+", text, re.ASCII) is not None, what)
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UncheckedPart(what) from error
    require(is_arithmetic(tree), what)


def is_arithmetic(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=int(value)):
            return abs(value) < 2**64
        case ast.Name() | ast.Call(func=ast.Name(id="Symbol")):
            return is_symbol(node)
        case ast.Call(func=ast.Name(id="Pow"), args=[base, exponent], keywords=[]):
            return is_power(base, exponent)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return name in FUNCTIONS.split() and all(map(is_arithmetic, arguments))
        case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
            return is_power(base, exponent)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.FloorDiv() | ast.Mod()):
            return is_arithmetic(left) and is_arithmetic(node.right)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return is_arithmetic(operand)
        case ast.Compare(left=left, comparators=others):
            return is_arithmetic(left) and all(map(is_arithmetic, others))
    return False


def is_symbol(node: ast.AST) -> bool:
    """s14, or Symbol('s14', positive=True, integer=True)."""
    match node:
        case ast.Name(id=name) | ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            assumptions = node.keywords if isinstance(node, ast.Call) else []
            of_kind = all(isinstance(one.value, ast.Constant) and one.value.value is True for one in assumptions)
            return of_kind and SYMBOL.fullmatch(name) is not None
    return False


def is_power(base: ast.AST, exponent: ast.AST) -> bool:
    """Of a size, by a small number: powers of numbers could take for ever."""
    if isinstance(exponent, ast.Call) and len(exponent.args) == 1 and not exponent.keywords:  # Integer(2)
        (exponent,) = exponent.args
    return is_symbol(base) and isinstance(exponent, ast.Constant) and exponent.value in range(9)
