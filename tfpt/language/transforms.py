"""The operations of a row that reads variables: from its keys to a `Transform`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tfpt.errors import MappingError
from tfpt.language.row_schema import RowEntry
from tfpt.language.templates import Template
from tfpt.operations.combine import Combine
from tfpt.operations.concat import Concat, Split
from tfpt.operations.fold import Fold
from tfpt.operations.joined_layout import joined_layout
from tfpt.operations.layout import Layout
from tfpt.operations.product import Product
from tfpt.operations.stack import Stack, Unstack
from tfpt.operations.transform import Transform

# Parses a layout; the sizes must be of axes that it has.
Parse = Callable[[str, Mapping[str, int]], Layout]

# What a fold does not combine with: it computes weight and bias of a layer, ready to be written.
_NOT_WITH_FOLD = (
    "slice", "concat", "combine", "product", "split", "reorder", "apply", "scale", "add", "pad", "zero",
)  # fmt: skip


def transform_of(entry: RowEntry, tf: Sequence[Template], index: str, parse: Parse) -> Transform:
    """The operations of a row.

    Args:
        entry: The row.
        tf: Its TensorFlow names.
        index: The field that only one side has; empty for most rows.
        parse: Parses a layout.

    Raises:
        MappingError: The keys do not go together, or an operation does not fit the layout.
    """
    gathers = bool(index) and any(index in template.fields for template in tf)
    if entry.fold is not None:
        transform = _folded(entry, entry.fold, index, parse)
    else:
        stated = _join(entry, index, len(tf), gathers=gathers)
        layouts, join, layout = _layouts(entry, stated, parse)
        transform = Transform(
            layouts=layouts,
            join=join,
            slices=tuple(entry.slice.values()),
            layout=layout,
            reorder=entry.reorder,
            functions=entry.apply,
            scale=entry.scale,
            add=entry.add,
            pad=entry.pad,
            zero=entry.zero,
            split=_split(entry, index, distributes=bool(index) and not gathers),
        )
    transform.check()
    return transform


Join = Stack | Concat | Combine | Product


def _join(entry: RowEntry, index: str, names: int, *, gathers: bool) -> Stack | Concat | Combine | None:
    if gathers and names > 1:
        raise MappingError(f"the index {{{index}}} already stacks variables, so tf: can only have one name")
    several = gathers or names > 1
    listed = ", ".join(entry.tf or [])
    if entry.concat and not several:
        raise MappingError("concat: needs several names under tf:", got=listed)
    stated = [key for key in ("concat", "combine", "product") if getattr(entry, key) is not None]
    if len(stated) > 1:
        raise MappingError(f"{stated[0]}: and {stated[1]}: both say how variables are joined", got=listed)
    if entry.combine and len(entry.combine.numbers) != names:
        raise MappingError(
            "combine: needs one number for each name under tf:",
            expected=f"{len(entry.combine.numbers)} names",
            got=listed,
        )
    return entry.concat or entry.combine or (Stack() if several else None)


def _layouts(
    entry: RowEntry, join: Stack | Concat | Combine | None, parse: Parse
) -> tuple[tuple[Layout, ...], Join | None, Layout | None]:
    """The layouts of single variables, the join, and the layout of the joined ones."""
    names = len(entry.tf or [])
    if entry.product is not None:
        if entry.layout is not None:
            raise MappingError(
                "product: has the layout of the result on its right side, so the row needs no layout",
                got=", ".join(entry.layout),
            )
        parsed = Product.parse(entry.product, entry.axes)
        wanted = len(parsed[0])
        if names != wanted:
            number = "two" if wanted == 2 else str(wanted)
            raise MappingError(f"product: needs {number} names under tf:", got=", ".join(entry.tf or []))
        return parsed
    if entry.layout is None:
        return (), join, None
    if len(entry.layout) == 1:
        return (), join, parse(entry.layout[0], entry.axes)
    layouts = _of_each(entry.layout, names, entry.axes, parse)
    return layouts, join, joined_layout(layouts, stacked=isinstance(join, Stack))


def _folded(entry: RowEntry, fold: Fold, index: str, parse: Parse) -> Transform:
    names = len(entry.tf or [])
    if index:
        raise MappingError(
            f"fold: cannot stack or split by {{{index}}}", expected="the same fields on both sides"
        )
    if names != len(fold.batch_norm):
        raise MappingError(
            "fold: needs one name under tf: for each part",
            expected=f"{len(fold.batch_norm)} names: {', '.join(fold.batch_norm)}",
            got=", ".join(entry.tf or []),
        )
    if len(entry.pt) != 2:
        raise MappingError(
            "fold: needs two names under pt:", expected="weight and bias", got=", ".join(entry.pt)
        )
    if entry.layout is None:
        raise MappingError(
            f"fold: names the axis {fold.axis!r}, so the row needs a layout that names its axes"
        )
    for key in _NOT_WITH_FOLD:
        if getattr(entry, key):
            raise MappingError(f"fold: cannot be combined with {key}:")
    stated = list(entry.layout)
    if len(stated) == 1:
        stated = [stated[0] if part == "kernel" else "... c -> c" for part in fold.batch_norm]
    return Transform(layouts=_of_each(stated, names, entry.axes, parse), fold=fold)


def _of_each(
    patterns: Sequence[str], names: int, axes: Mapping[str, int], parse: Parse
) -> tuple[Layout, ...]:
    """A layout for each variable, with those of the sizes that its pattern uses."""
    if len(patterns) != names:
        raise MappingError(
            "a list of layouts needs one for each name under tf:",
            expected=f"{names} layouts",
            got=str(len(patterns)),
        )
    words = [set(axes_of(pattern)) for pattern in patterns]
    strange = [name for name in axes if not any(name in used for used in words)]
    if strange:
        raise MappingError(
            f"axes: names {strange[0]!r}, which none of the layouts has", got=", ".join(patterns)
        )
    return tuple(
        parse(pattern, {name: size for name, size in axes.items() if name in used})
        for pattern, used in zip(patterns, words, strict=True)
    )


def axes_of(pattern: str) -> list[str]:
    """The axes of a layout, each as often as it occurs.

    Example:
        >>> axes_of("i h d -> (h d) i")
        ['i', 'h', 'd', 'h', 'd', 'i']
    """
    for sign in ("->", "(", ")"):
        pattern = pattern.replace(sign, " ")
    return pattern.split()


def _split(entry: RowEntry, index: str, *, distributes: bool) -> Split | Unstack | None:
    if distributes and (len(entry.pt) > 1 or entry.split):
        raise MappingError(
            f"the index {{{index}}} already splits the variable, so pt: can only have one name"
        )
    if entry.split and len(entry.pt) < 2:
        raise MappingError("split: needs several names under pt:", got=", ".join(entry.pt))
    if entry.split and isinstance(entry.split.sizes, tuple) and len(entry.split.sizes) != len(entry.pt):
        raise MappingError(
            "split: needs one size for each name under pt:",
            expected=f"{len(entry.pt)} sizes",
            got=str(list(entry.split.sizes)),
        )
    return entry.split or (Unstack() if distributes or len(entry.pt) > 1 else None)
