"""Whether the graph of a .pt2 file is operations on tensors and nothing else.

torch looks targets up by getattr, evaluates sizes with sympy, imports what a treespec names, and makes Python source of
the graph, names included. So every text of the graph must be of a kind that is known here, by the key under which it
stands; what has no use in answering (stack traces, guards, the modules' calls) is left out.
"""

import json
import keyword
import re
from collections.abc import Callable
from typing import Any

from src.exporting.operations import UncheckedPart, expression, operation, require, shown


def check_program(program: Any) -> dict[str, Any]:
    """The parsed models/model.json without what is not needed. Raises UncheckedPart."""
    module = program["graph_module"]
    calls = module["module_call_graph"][:1]  # the whole model's, which says what it takes and gives
    kept = {**module, "module_call_graph": calls, "metadata": {}, "treespec_namedtuple_fields": {}}
    checked: dict[str, Any] = cleaned({**program, "graph_module": kept, "guards_code": []}, "")
    return checked


def cleaned(value: Any, key: str) -> Any:
    """The value without notes of the tracing; `key` is the one under which it stands. Raises UncheckedPart."""
    if isinstance(value, dict):
        if key == "metadata":
            return {}
        for name in value:
            identifier(name)
            require(name not in CUSTOM or not value[name], f"an object or operation of its own ({name})")
        return {name: cleaned(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [cleaned(inner, key) for inner in value]
    if isinstance(value, str):
        RULES.get(key, identifier)(value)
    elif isinstance(value, int):
        require(-(2**63) <= value < 2**64, f"a number of {value.bit_length()} bits ({key})")
    return value


CUSTOM = ("as_custom_obj", "custom_obj", "custom_obj_values", "as_operator", "as_graph", "token")


def identifier(text: str) -> None:
    fits = re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII) and not text.startswith("__") and not keyword.iskeyword(text)
    require(bool(fits), f"{shown(text)} as a name")


DOTTED = r"[\w-]+(\.[\w-]+)*"  # of modules: RegNet has block1.block1-0


def dotted_name(text: str) -> None:
    require(re.fullmatch(DOTTED, text, re.ASCII) is not None, f"{shown(text)} as a name")


def matching(pattern: str) -> Callable[[str], None]:
    return lambda text: require(re.fullmatch(pattern, text, re.ASCII) is not None, shown(text))


def tree(text: str) -> None:
    """What the model takes and gives: tensors in tuples, lists and dicts. torch imports the names of other types."""
    what = f"inputs or outputs of another kind than tensors: {shown(text)}"
    try:
        version, root = json.loads(text)
        require(version == 1 and is_tree(root), what)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UncheckedPart(what) from error


def is_tree(node: Any) -> bool:
    kind, context, children = node["type"], node["context"], node["children_spec"]
    if kind == "builtins.dict":
        names = json.loads(context)
        fits = isinstance(names, list) and all(isinstance(name, str) for name in names) and len(names) == len(children)
        for name in names if fits else []:
            identifier(name)
    else:
        fits = (kind is None and context is None and not children) or (
            kind in ("builtins.tuple", "builtins.list") and context == "null"
        )
    return fits and set(node) == {"type", "context", "children_spec"} and all(map(is_tree, children))


RULES: dict[str, Callable[[str], None]] = {
    "target": operation,
    "expr_str": expression,
    "in_spec": tree,
    "out_spec": tree,
    "parameter_name": dotted_name,
    "buffer_name": dotted_name,
    "tensor_constant_name": dotted_name,
    "fqn": matching(rf"({DOTTED})?"),
    "as_string": matching(r"[\w ,.>-]{0,200}"),  # "tanh" of GELU, the letters of einsum
    "as_float": matching(r"-?Infinity|NaN"),
    "as_floats": matching(r"-?Infinity|NaN"),
    "torch_version": matching(r"[\w.+<=-]{1,60}"),
}
