"""Text as Kubernetes reads it: what `kubectl apply` makes of a file, and the operator of a list in a ConfigMap.

JSON is read as JSON. YAML is YAML 1.1 with the rules of sigs.k8s.io/yaml for plain scalars: `18:00` is text, `0o10` and
`010` are 8, `1e1` is 10, `y` is true. Other readers differ in each of these, so of PyYAML only the parser is used.

The text may be anybody's. Nothing here recurses, nothing is nested deeper than DEPTH_MAX, and whatever an alias repeats is
counted before it is repeated, so that everything that walks over the result later is bounded by the length of the text.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from prescaler.window.schema import InvalidSpecError

DEPTH_MAX = 100
REPEATED_MAX = 100_000  # nodes that aliases and merge keys repeat
_TOO_DEEP = f"it is nested deeper than {DEPTH_MAX} levels"

_WORDS: dict[str, bool | None] = {
    word: value
    for value, words in ((True, "y yes true on"), (False, "n no false off"), (None, "~ null"))
    for lower in words.split()
    for word in (lower, lower.capitalize(), lower.upper())
} | {"": None}
_NUMBER = re.compile(r"[-+.0-9]")
_INTEGERS = (
    (re.compile(r"[-+]?0[xX][0-9a-fA-F]+"), 16),
    (re.compile(r"[-+]?0[bB][01]+"), 2),
    (re.compile(r"[-+]?0[oO]?[0-7]+"), 8),
    (re.compile(r"[-+]?(0|[1-9][0-9]*)"), 10),
)
_INTEGER_DIGITS_MAX = 70  # more than 64 binary ones are no integer
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TAGS: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "null": (type(None),)}
_TAG = "tag:yaml.org,2002:"
_SEPARATOR = re.compile(r"^---(.*)\n?", re.MULTILINE)
_SPACE = re.compile(r"[ \t\r\n]*")
_ESCAPE = re.compile(  # a pair of surrogates, or half of one
    r"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(u[dD][89a-fA-F][\da-fA-F]{2})|.)", re.DOTALL
)


def documents(text: str, where: str) -> list[Any]:
    """Every document that holds something. Raises InvalidSpecError whatever `text` is."""
    try:
        found = [each for each in _documents(text) if each is not None]
        if any(_is_too_deep(each) for each in found):
            raise InvalidSpecError(_TOO_DEEP)
    except yaml.YAMLError as error:
        place = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        line = f"line {place.line + 1}: " if place is not None else ""
        problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else " ".join(str(error).split())
        raise InvalidSpecError(f"{where}: {line}isn't YAML: {problem}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidSpecError(f"{where}: can't be read: {error!s:.200}") from error
    return found


def _documents(text: str) -> Iterator[Any]:
    """A stream of JSON objects, or of YAML documents. After one object the rest may still be YAML, as for kubectl."""
    if text.lstrip().startswith("{"):
        count, at = 0, 0
        escaped = _ESCAPE.sub(lambda match: "\\ufffd" if match[1] else match[0], text)
        while (at := _after_space(escaped, at)) < len(text):
            try:
                value, at = _JSON.raw_decode(escaped, at)
            except json.JSONDecodeError:
                if count > 1:
                    raise
                text = text[at:]
                break
            yield value
            count += 1
        else:
            return
    # Only a comment may follow `---` on its line; of each part kubectl reads the first document.
    start = 0
    for separator in _SEPARATOR.finditer(text):
        if separator[1].strip() and not separator[1].strip().startswith("#"):
            raise InvalidSpecError(f"`---{separator[1]:.40}` is not allowed: begin the document on the next line")
        yield _yaml(text[start : separator.start()])
        start = separator.end()
    yield _yaml(text[start:])


@dataclass(slots=True)
class _Open:
    """A mapping, a sequence or the document itself (a sequence of one) whose end has not been read yet."""

    into: dict[str, Any] | list[Any]
    anchor: str | None = None
    size: int = 1
    key: str | None = None
    merges: bool = False

    @property
    def wants_key(self) -> bool:
        return isinstance(self.into, dict) and self.key is None and not self.merges

    def take(self, value: Any, size: int) -> None:
        self.size += size
        if isinstance(self.into, list):
            self.into.append(value)
        elif self.merges:
            self._merge(value)
            self.merges = False
        elif self.key is None:
            self.key = _key(value)
        else:
            self.into[self.key] = value
            self.key = None

    def _merge(self, value: Any) -> None:
        merged = list(reversed(value)) if isinstance(value, list) else [value]
        if not isinstance(self.into, dict) or not all(isinstance(each, dict) for each in merged):
            raise InvalidSpecError("`<<` takes a mapping or a list of mappings")
        for each in merged:
            self.into.update(each)


def _yaml(text: str) -> Any:
    document = _Document()
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.DocumentEndEvent):
            break
        document.take(event)
    return document.value


class _Document:
    """Built from the parser's events, which tell a collection's start and end."""

    def __init__(self) -> None:
        self._root: list[Any] = []
        self._open = [_Open(self._root)]
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._repeated = 0

    @property
    def value(self) -> Any:
        return self._root[0] if self._root else None

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.CollectionStartEvent):
            self._begin({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._open.pop()
            self._put(done.into, done.size, done.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._put(*self._again(event.anchor or ""), None)
        elif isinstance(event, yaml.ScalarEvent):
            if self._open[-1].wants_key and event.value == "<<" and event.implicit[0]:
                self._open[-1].merges = True
            else:
                self._put(_scalar(event), 1, event.anchor)

    def _begin(self, into: dict[str, Any] | list[Any], anchor: str | None) -> None:
        if len(self._open) > DEPTH_MAX:  # the parser's time grows with the square of the depth
            raise InvalidSpecError(_TOO_DEEP)
        self._open.append(_Open(into, anchor))

    def _put(self, value: Any, size: int, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = value, size
        self._open[-1].take(value, size)

    def _again(self, anchor: str) -> tuple[Any, int]:
        if anchor not in self._anchors:
            raise InvalidSpecError(f"`*{anchor:.40}` refers to nothing that ends before it")
        value, size = self._anchors[anchor]
        self._repeated += size
        if self._repeated > REPEATED_MAX:
            raise InvalidSpecError(f"its aliases repeat more than {REPEATED_MAX} values")
        return value, size


def _scalar(event: yaml.ScalarEvent) -> Any:
    tag = (event.tag or "").removeprefix(_TAG)
    if tag == "binary":
        raise InvalidSpecError("`!!binary` is not supported")
    if tag not in _TAGS and (tag or not event.implicit[0]):
        return event.value
    value = _plain(event.value)
    if tag and not isinstance(value, _TAGS[tag]):
        raise InvalidSpecError(f"`{event.value:.40}` is not a value of the type !!{tag}")
    return value


def _plain(text: str) -> Any:
    """What a word without quotes means."""
    if text in _WORDS:
        return _WORDS[text]
    if not _NUMBER.match(text):
        return text
    if _NOT_FINITE.fullmatch(text):
        raise InvalidSpecError(f"`{text}` is not a number that JSON has")
    digits = text.replace("_", "")
    for pattern, base in _INTEGERS:
        if len(digits) <= _INTEGER_DIGITS_MAX and pattern.fullmatch(digits):
            number = int(digits, base)
            if -(2**63) <= number < 2**64:
                return number
    if _FLOAT.fullmatch(digits) and math.isfinite(found := float(digits)):
        return int(found) if found.is_integer() else found  # JSON has one kind of number
    return text


def _key(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        raise InvalidSpecError("a key must be text")
    return value


def _json_number(text: str) -> int | float:
    number = int(text) if len(text) < _INTEGER_DIGITS_MAX and text.lstrip("-").isdigit() else float(text)
    if not math.isfinite(number):
        raise InvalidSpecError(f"`{text:.40}` is not a number that JSON has")
    return number


_JSON = json.JSONDecoder(parse_int=_json_number, parse_float=_json_number, parse_constant=_json_number)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match is not None else at


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True
