"""The option keys as a JSON Schema, so that editors complete them and mark wrong ones."""

import types
from typing import Any, Literal, Union, get_args, get_origin

from msgnn_plugin.adapters.basicsr.components import REGISTRIES, Component, registered
from msgnn_plugin.adapters.basicsr.option_files import BASE
from msgnn_plugin.adapters.basicsr.option_types import LISTS, item_kind
from msgnn_plugin.adapters.basicsr.schema import KEYS, LISTED_MODELS

# Plain YAML reads 5e-4 as text, and the options take it as a number.
NUMBER_AS_TEXT = {"type": "string", "pattern": r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"}
PLAIN: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"anyOf": [{"type": "integer"}, NUMBER_AS_TEXT]},
    float: {"anyOf": [{"type": "number"}, NUMBER_AS_TEXT]},
    str: {"type": "string"},
    dict: {"type": "object"},
    None: {"type": "null"},
    type(None): {"type": "null"},
}
NULL = {"type": "null"}


def build_json_schema() -> dict[str, Any]:
    """Return a JSON Schema (draft 7) of the option files for BasicSR's `SRModel` and for our models.

    It holds for files that inherit and for their bases: nothing is required, and a component's keys are looked at
    where its ``type`` stands in the same section. The command itself checks the whole, plugins' keys and types too.
    """
    models = {name: thing for name, thing in registered("model").items() if hasattr(thing, "option_keys")}
    keys: dict[str, list[Any]] = {key: [kind] for key, kind in KEYS.items() if key != "model_type"}
    for name in sorted(models):
        for key, kind in models[name].option_keys.items():
            kinds = keys.setdefault(key, [])
            if kind not in kinds:
                kinds.append(kind)
    root = _section()
    root["properties"]["model_type"] = {"enum": sorted({*models, *LISTED_MODELS})}
    for key, kinds in sorted(keys.items()):
        _place(root, key.split("."), [_kind(kind) for kind in kinds])
    root["properties"][BASE] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    names = (*REGISTRIES, "part", "optimizer", "scheduler")
    definitions = {name: _component(Component(name)) for name in names if name != "model"}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Options",
        **root,
        "definitions": definitions,
    }


def _section() -> dict[str, Any]:
    # A file may drop what its base holds.
    return {
        "type": ["object", "null"],
        "properties": {"_delete_": {"type": "boolean"}},
        "patternProperties": {},
        "additionalProperties": False,
    }


def _place(section: dict[str, Any], parts: list[str], kinds: list[dict[str, Any]]) -> None:
    """Put what a dotted key may hold into the sections above it."""
    name, *below = parts
    if "*" in name:
        group, name = "patternProperties", "^(?!_delete_$)" + name.replace("*", ".*") + "$"
    else:
        group = "properties"
    if below:
        _place(section[group].setdefault(name, _section()), below, kinds)
    else:
        section[group][name] = _any_of(kinds)


def _kind(kind: Any) -> dict[str, Any]:
    if not isinstance(kind, Component):
        return _annotation(kind)
    reference = {"$ref": f"#/definitions/{kind.kind}"}
    return _any_of([reference, NULL])


def _component(component: Component) -> dict[str, Any]:
    known_types = {name: component.annotations(name) for name in component.types()}
    if component.kind == "metric":
        # Registered only where its package is installed; the keywords are the same.
        known_types["calculate_lpips"] = known_types["calculate_ssim_luma"]
    rules = []
    for name, (known, open_ended) in sorted(known_types.items()):
        properties = {key: _annotation(kind) for key, kind in sorted(known.items())}
        properties |= {"type": {}, "_delete_": {"type": "boolean"}}
        then: dict[str, Any] = {"properties": properties}
        if not open_ended:
            then["additionalProperties"] = False
        rules.append({"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": then})
    return {"type": "object", "properties": {"type": {"enum": sorted(known_types)}}, "allOf": rules}


def _annotation(annotation: Any) -> dict[str, Any]:
    """Return what `option_types.convert` lets through for an annotation."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        # What YAML cannot write, such as a tensor, is not offered.
        return {} if Any in args else _any_of([kind for kind in map(_annotation, args) if kind])
    if origin is Literal:
        return {"enum": list(args)}
    if annotation in LISTS or origin in LISTS:
        if (origin or annotation) is tuple and args and args[-1] is not Ellipsis:
            items = [_annotation(arg) for arg in args]
            return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}
        return {"type": "array", "items": _annotation(args[0])} if args else {"type": "array"}
    if isinstance(item_kind(annotation), Component):
        properties = {"_delete_": {"type": "boolean"}}
        return {"type": "object", "properties": properties, "additionalProperties": _kind(item_kind(annotation))}
    if origin is dict:
        return PLAIN[dict]
    return PLAIN.get(annotation, {})


def _any_of(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
