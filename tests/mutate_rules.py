"""Mutation score of the backward rules: break each one in every way that people do, and see whether the checks notice.

    python tests/mutate_rules.py                       all mutants; exits with 1 where fewer than 95 % die
    python tests/mutate_rules.py --op silu matmul      those of some operations
    python tests/mutate_rules.py --sample 20 --seed 3  some, chosen at random

A mutant is a rule, or a helper that a rule calls, with one change: a sign, a factor, an axis, two operands exchanged, a
term or factor left out, another saved tensor, a comparison moved by its edge, another input's need asked, a gradient
left out. It is compiled and put in the rule's place, in this process, and what the test suite checks for every
operation is run for the operations that use the rule: first and second gradients by complex step, by differences where
that does not apply, their shapes and dtypes in float32, each gradient asked for alone, and the kinks.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import copy
import functools
import inspect
import itertools
import sys
import textwrap
import types
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from kinks import KINKS  # noqa: E402 - runs as a script, from anywhere

import tinygrad_effnet as tg  # noqa: E402
from tinygrad_effnet.op import Op, registry  # noqa: E402
from tinygrad_effnet.testing import Sample, gradcheck, gradgradcheck, samples  # noqa: E402

SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
EDGES = {ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}

# Survivors that no check could kill, since they compute the same: (operation, part of the mutant's label) -> why.
EXPLAINED: dict[tuple[str, str], str] = {
    (
        "pow",
        "in `1.0`",
    ): "an exponent multiplied by b = 0, or a logarithm that where() does not choose: any number does",
    ("abs", "dy for x"): "only asks where the array lies, and dy lies there too",
    ("where", "half in `0`"): "one array is saved, so the first is the last",
    ("cat", "strict=True"): "the lengths agree, so strictness has nothing to find",
    ("amax", "for x in `x`"): "only asks for the dtype, which all have in common",
    ("batch_norm_grad", "dy for x"): "only asks for the number of axes, which both have in common",
    ("scale_shift", "dy for x"): "only asks for the number of axes, which both have in common",
    ("label_cross_entropy", "dy for x"): "only asks for the dtype, which both have in common",
    ("label_cross_entropy", "slope for x"): "only asks for classes and dtype, which both have in common",
    ("label_cross_entropy", "exchanged in `max(1, classes)`"): "the larger of the two, either way",
    ("label_cross_entropy", "half in `1`"): "only where there are no classes, and then there are no numbers",
}


@dataclass(frozen=True)
class Rule:
    """Something to mutate: where a function of a rule lives, and the operations that use it."""

    owner: Any  # a class or a module
    name: str
    function: types.FunctionType
    ops: tuple[str, ...]


@dataclass(frozen=True)
class Mutant:
    rule: Rule
    label: str
    tree: ast.FunctionDef

    def function(self) -> types.FunctionType:
        path = inspect.getsourcefile(self.rule.function) or "?"
        tree = ast.fix_missing_locations(ast.Module([self.tree], []))
        module = compile(tree, path, "exec", dont_inherit=True, flags=__future__.annotations.compiler_flag)
        (code,) = [c for c in module.co_consts if isinstance(c, types.CodeType)]
        original = self.rule.function
        made = types.FunctionType(code, original.__globals__, original.__name__, original.__defaults__)
        made.__kwdefaults__ = original.__kwdefaults__
        return made


# -- what is mutated -----------------------------------------------------------------------------------------------


def rules() -> list[Rule]:
    """The backward method of every operation, and the private helpers of its module and class that it calls."""
    users: dict[tuple[Any, str], set[str]] = {}
    for name, op in registry.items():
        if not op.__module__.startswith("tinygrad_effnet.ops"):
            continue
        waiting, seen = [_method(op, "backward")], set()
        while waiting:
            owner, attribute = waiting.pop()
            if (owner, attribute) in seen:
                continue
            seen.add((owner, attribute))
            users.setdefault((owner, attribute), set()).add(name)
            waiting.extend(_helpers(op, getattr(owner, attribute)))
    return [
        Rule(owner, attribute, getattr(owner, attribute), tuple(sorted(names)))
        for (owner, attribute), names in users.items()
    ]


def _method(op: type[Op], name: str) -> tuple[Any, str]:
    return next(cls for cls in op.__mro__ if name in cls.__dict__), name


def _helpers(op: type[Op], function: types.FunctionType) -> Iterator[tuple[Any, str]]:
    module = sys.modules[function.__module__]
    for node in ast.walk(_tree(function)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            if isinstance(getattr(op, node.attr, None), types.FunctionType) and not hasattr(Op, node.attr):
                yield _method(op, node.attr)
        elif isinstance(node, ast.Name) and node.id.startswith("_"):
            helper = getattr(module, node.id, None)
            if isinstance(helper, types.FunctionType):
                yield module, node.id


def _tree(function: types.FunctionType) -> ast.FunctionDef:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    tree.returns = None
    for argument in (*tree.args.args, *tree.args.kwonlyargs):
        argument.annotation = None
    return tree


# -- mutants -------------------------------------------------------------------------------------------------------


def mutants(rule: Rule) -> list[Mutant]:
    """Every mutant of a rule, without those that read the same."""
    tree = _tree(rule.function)
    tree.body = [s for s in tree.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    original = ast.unparse(tree)
    names = _tensors(tree)
    found: dict[str, Mutant] = {}
    for place, node in enumerate(ast.walk(tree)):
        for label, change in _changes(node, names):
            mutated = copy.deepcopy(tree)
            target = next(itertools.islice(ast.walk(mutated), place, None))
            replacement = change(target)
            if replacement is not target:
                mutated = _Replace(target, replacement).visit(mutated)
            text = ast.unparse(mutated)
            if text != original and text not in found:
                owner = getattr(rule.owner, "__name__", "?").rpartition(".")[2]
                line = ast.unparse(node).replace("\n", " ")
                found[text] = Mutant(rule, f"{owner}.{rule.name}: {label} in `{line[:70]}`", mutated)
    return list(found.values())


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self.target, self.replacement = target, replacement

    def visit(self, node: ast.AST) -> Any:
        return self.replacement if node is self.target else self.generic_visit(node)


def _tensors(tree: ast.FunctionDef) -> list[str]:
    """Names of the gradients that come in, and of what was saved."""
    names = [a.arg for a in tree.args.args if a.arg != "self"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and "self.saved()" in ast.unparse(node.value):
            names += [n.id for n in ast.walk(node.targets[0]) if isinstance(n, ast.Name)]
    return names


Change = tuple[str, Callable[[Any], ast.AST]]


def _changes(node: ast.AST, names: Sequence[str]) -> Iterator[Change]:
    if isinstance(node, ast.Return) and node.value is not None:
        yield from _changes_of_results(node)
    elif isinstance(node, ast.BinOp):
        yield "left operand only", lambda n: n.left
        yield "right operand only", lambda n: n.right
        if not isinstance(node.op, (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr)):  # of those the result is the same
            yield "operands exchanged", lambda n: ast.BinOp(n.right, n.op, n.left)
        if type(node.op) in SWAPPED:
            yield "another operator", lambda n: ast.BinOp(n.left, SWAPPED[type(n.op)](), n.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "no sign", lambda n: n.operand
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in EDGES:
        yield "another edge", lambda n: ast.Compare(n.left, [EDGES[type(n.ops[0])]()], n.comparators)
        if not isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
            yield "sides exchanged", lambda n: ast.Compare(n.comparators[0], n.ops, [n.left])
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "one more", lambda n: ast.Constant(n.value + 1)
        yield "half", lambda n: ast.Constant(n.value / 2 if isinstance(n.value, float) else n.value - 1)
    elif isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool):
        yield "the opposite", lambda n: ast.keyword(n.arg, ast.Constant(not n.value.value))
    elif isinstance(node, ast.Call) and len(node.args) > 1:
        for i in range(len(node.args) - 1):
            yield f"arguments {i} and {i + 1} exchanged", functools.partial(_exchange, i=i)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
        for name in names:
            yield f"{name} for {node.id}", functools.partial(lambda n, name: ast.Name(name, n.ctx), name=name)


def _changes_of_results(node: ast.Return) -> Iterator[Change]:
    """Of each gradient that is returned: its sign, a factor, and whether there is one."""
    results = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
    for i in range(len(results)):
        for label, template in (("sign", "-({})"), ("factor", "({}) * 2.0"), ("left out", "None")):
            yield f"{label} of gradient {i}", functools.partial(_edit_result, i=i, template=template)
    if len(results) == 2:
        yield "gradients exchanged", lambda n: ast.Return(ast.Tuple(n.value.elts[::-1], ast.Load()))


def _edit_result(node: ast.Return, i: int, template: str) -> ast.AST:
    many = isinstance(node.value, ast.Tuple)
    result = node.value.elts[i] if many else node.value
    needed = result.body if isinstance(result, ast.IfExp) else result
    edited = ast.parse(template.format(ast.unparse(needed)), mode="eval").body
    if isinstance(result, ast.IfExp):
        edited = ast.IfExp(result.test, edited, result.orelse)
    if many:
        node.value.elts[i] = edited
        return node
    return ast.Return(edited)


def _exchange(node: ast.Call, i: int) -> ast.AST:
    node.args[i], node.args[i + 1] = node.args[i + 1], node.args[i]
    return node


# -- what kills them -----------------------------------------------------------------------------------------------


@functools.cache
def samples_of_op(name: str) -> list[Sample]:
    return samples(name, np.random.default_rng(zlib.crc32(name.encode())))


def _leaves(arrays: Sequence[np.ndarray], dtype: str = "float64") -> list[tg.Tensor]:
    return [tg.Tensor(a.astype(dtype), requires_grad=True) for a in arrays]


def check(name: str) -> None:
    """What the suite asks of every operation; raises where something is wrong."""
    method = "difference" if name == "cast" else "complex"
    for sample in samples_of_op(name):
        gradcheck(sample, _leaves(sample.arrays), method=method, fast_mode=True)
        if registry[name].once_differentiable:
            _check_refusal(sample)
        else:
            gradgradcheck(sample, _leaves(sample.arrays), method=method, fast_mode=True)
        _check_parts(name, sample)
    for kink in KINKS:
        if kink.op == name:
            kink.check()


def _check_refusal(sample: Sample) -> None:
    """A fused operation says that it has no second derivative, and what to do about it."""
    x = _leaves(sample.arrays)
    y = sample(*x)
    try:
        tg.grad(y, x, tg.Tensor(np.ones(y.shape)), create_graph=True)
    except RuntimeError as error:
        assert "fused=False" in str(error)
    else:
        raise AssertionError("there is a second derivative")


def _check_parts(name: str, sample: Sample) -> None:
    x = _leaves(sample.arrays, "float32")
    y = sample(*x)
    outputs = y if isinstance(y, tuple) else (y,)
    rng = np.random.default_rng(2)
    upstream = [tg.Tensor(rng.standard_normal(y.shape), dtype=y.dtype) for y in outputs]
    together = tg.grad(outputs, x, upstream, retain_graph=True)
    for i, (tensor, gradient) in enumerate(zip(x, together, strict=True)):
        assert (gradient.shape, gradient.dtype) == (tensor.shape, tensor.dtype)
        leaves = _leaves(sample.arrays, "float32")
        for j, leaf in enumerate(leaves):
            leaf.requires_grad = j == i
        found = sample(*leaves)
        (alone,) = tg.grad(found, leaves[i], upstream)
        np.testing.assert_allclose(alone.numpy(), gradient.numpy(), rtol=1e-6)


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Inside the block the mutant stands in the rule's place."""
    rule = mutant.rule
    setattr(rule.owner, rule.name, mutant.function())
    try:
        yield
    finally:
        setattr(rule.owner, rule.name, rule.function)


def survives(mutant: Mutant) -> bool:
    with planted(mutant), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            for name in mutant.rule.ops:
                check(name)
        except Exception:
            return False
    return True


def explanation(mutant: Mutant) -> str | None:
    return next((why for (op, part), why in EXPLAINED.items() if op in mutant.rule.ops and part in mutant.label), None)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--op", nargs="*", help="names of operations; all when left out")
    parser.add_argument("--sample", type=int, help="so many mutants, chosen at random")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chosen = [m for rule in rules() if not options.op or set(options.op) & set(rule.ops) for m in mutants(rule)]
    if options.sample is not None:
        order = np.random.default_rng(options.seed).permutation(len(chosen))[: options.sample]
        chosen = [chosen[i] for i in sorted(order)]
    killed: dict[str, list[bool]] = {}
    for mutant in chosen:
        alive = survives(mutant)
        killed.setdefault(mutant.rule.ops[0], []).append(not alive)
        if alive:
            print(f"survived  {mutant.label}\n          {explanation(mutant) or 'NOT EXPLAINED'}")
    for op, results in sorted(killed.items()):
        print(f"{op:30} {sum(results):4} of {len(results):4} killed")
    total, dead = sum(map(len, killed.values())), sum(map(sum, killed.values()))
    print(f"{'all':30} {dead:4} of {total:4} killed, {100 * dead / max(total, 1):.1f} %")
    return 0 if dead >= 0.95 * total else 1


if __name__ == "__main__":
    with tg.use_backend("numpy"):
        sys.exit(main())
