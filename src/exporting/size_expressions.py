"""The sizes in the graph of a .pt2 file, such as 3*s14: texts that sympy evaluates as Python."""

import ast
import re

from src.exporting.unchecked import UncheckedPart, require, shown

FUNCTIONS = """
Add And CeilDiv CeilToInt CleanDiv Eq Equality Float FloatTrueDiv FloorDiv FloorToInt Ge GreaterThan Gt Identity
IntTrueDiv Integer Le LessThan Lt Max Min Mod ModularIndexing Mul Ne Not Or PythonMod Rational RoundToInt
StrictGreaterThan StrictLessThan ToFloat TruncToFloat TruncToInt Unequality Where
"""
SYMBOL = re.compile(r"[suz]f?\d{1,9}")
LONGEST_EXPRESSION = 2000


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
