"""Check a value from YAML against a Python annotation, and say in plain words what was wanted."""

import collections.abc
import inspect
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin

LISTS = (list, tuple, set, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
PLAIN = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    None: "nothing",
}


class MismatchError(Exception):
    """A value is not of the wanted kind; callers turn it into a sentence with the place."""


def convert(value: Any, annotation: Any) -> Any:
    """Return ``value`` as the annotated type.

    YAML reads ``5e-4`` as text and ``1e5`` too, so text that is a number passes where a number is wanted.

    Args:
        value: As YAML gave it.
        annotation: bool, int, float, str, None, Any, a union, a Literal, a list or tuple of these, or dict.
            Any other annotation lets everything through: it is for the constructor to judge.

    Returns:
        The value, converted where that loses nothing.

    Raises:
        MismatchError: If it is of another kind.
    """
    origin = get_origin(annotation)
    if annotation is Any or annotation is inspect.Parameter.empty:
        return value
    if annotation is None or annotation is type(None):
        return _require(value, value is None)
    if origin in (Union, types.UnionType):
        return _convert_union(value, get_args(annotation))
    if origin is Literal:
        return _require(value, any(value == choice and type(value) is type(choice) for choice in get_args(annotation)))
    if annotation in (int, float):
        return _convert_number(value, annotation)
    if annotation in (bool, str, dict) or origin is dict:
        return _require(value, isinstance(value, origin or annotation))
    if annotation in LISTS or origin in LISTS:
        return _convert_list(value, get_args(annotation), origin or annotation)
    return value


def item_kind(annotation: Any) -> Any:
    """Return what a mapping of names holds, ``T`` of ``dict[str, T]``; None for any other annotation."""
    return get_args(annotation)[1] if get_origin(annotation) is dict else None


def describe(annotation: Any) -> str:
    """Say an annotation in words: ``int | None`` is "a whole number or nothing"."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return PLAIN[None]
    if origin in (Union, types.UnionType):
        return " or ".join(describe(arg) for arg in filter(_from_yaml, args))
    if origin is Literal:
        return "one of " + ", ".join(str(arg) for arg in args) if len(args) > 1 else str(args[0])
    if annotation in LISTS or origin in LISTS:
        item = next((arg for arg in args if arg is not Ellipsis), Any)
        return "a list" if item is Any else f"a list (each {describe(item)})"
    return PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def signature_annotations(thing: Any, skip: int = 0) -> tuple[dict[str, Any], bool]:
    """Read the keywords of a class or function.

    Args:
        thing: What will be called.
        skip: Number of leading arguments that do not come from the options.

    Returns:
        Keyword to annotation (told from the default where there is none), and whether further keywords are taken.
    """
    parameters = list(inspect.signature(thing).parameters.values())[skip:]
    target = thing.__init__ if inspect.isclass(thing) else thing
    try:
        hints = typing.get_type_hints(target)
    except (NameError, TypeError):
        hints = {}
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = [
        parameter for parameter in parameters if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    return {p.name: hints.get(p.name, _told_by_default(p.default)) for p in named}, open_ended


def _told_by_default(default: Any) -> Any:
    """An unannotated argument takes what its default is; whole numbers there often stand for any number."""
    if isinstance(default, bool):
        return bool
    if isinstance(default, int | float):
        return float | None if isinstance(default, float) else Any
    return str | None if isinstance(default, str) else Any


def _require(value: Any, fits: bool) -> Any:
    if not fits:
        raise MismatchError
    return value


def _convert_number(value: Any, kind: type) -> int | float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise MismatchError from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MismatchError
    if kind is float:
        return float(value)
    # Checked on the value itself: a whole number above 2**53 must not pass through a float.
    return (
        _require(value, float(value).is_integer())
        if isinstance(value, int)
        else int(_require(value, value.is_integer()))
    )


def _convert_union(value: Any, members: tuple[Any, ...]) -> Any:
    # A member that fits as it is wins over one that needs a conversion. Those YAML cannot write (a tensor) drop out.
    results = []
    for member in filter(_from_yaml, members):
        try:
            results.append(convert(value, member))
        except MismatchError:
            continue
    if not results:
        raise MismatchError
    return next((result for result in results if type(result) is type(value)), results[0])


def _from_yaml(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    return kind in (*PLAIN, *LISTS, type(None), Any, Union, types.UnionType, Literal)


def _convert_list(value: Any, args: tuple[Any, ...], kind: Any) -> list[Any]:
    _require(value, isinstance(value, list | tuple))
    if kind is tuple and args and args[-1] is not Ellipsis:
        _require(value, len(value) == len(args))
        return [convert(item, arg) for item, arg in zip(value, args, strict=True)]
    item_type = args[0] if args else Any
    return [convert(item, item_type) for item in value]
