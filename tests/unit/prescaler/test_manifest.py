"""A file or a list is read exactly as kubectl reads it, and no text takes more than its share of time and memory.

What kubectl makes of each row was read off kubectl itself; tests/cluster asks it again.
"""

import time
import tracemalloc
from typing import Any

import pytest

from prescaler.window.manifest import DEPTH_MAX, documents
from prescaler.window.schema import InvalidSpecError
from prescaler.window.spec import EXCEPTIONS_BYTES_MAX, parse_exceptions

REFUSED = "refused"
READ: dict[str, object] = {
    "18:00": "18:00", "61:30": "61:30", "1e1": 10, "0o10": 8, "010": 8, "08": 8, "0x10": 16, "-0b11": -3, "1_000": 1000,
    "+8": 8, "8.0": 8, "1.5": 1.5, "5.": 5, ".5": 0.5, "1e400": "1e400", "0x": "0x", "0o8": "0o8", "1,000": "1,000",
    "1e1000000000": "1e1000000000", "9" * 5000: "9" * 5000, ".inf": REFUSED, "-.INF": REFUSED, ".nan": REFUSED,
    "y": True, "Yes": True, "ON": True, "n": False, "off": False, "tRUE": "tRUE", "~": None, "Null": None, "": None,
    "2027-01-01": "2027-01-01", "2027-01-01T00:00:00Z": "2027-01-01T00:00:00Z", "<<": "<<", "=": "=",
    "'18'": "18", '"y"': "y", "!!str 5": "5", "!!int '5'": 5, "!!int x": REFUSED, "!!bool y": True, "!a b": "b", "! 5": "5",
    "{1: a, y: b, 2027-01-01: c}": {"1": "a", "true": "b", "2027-01-01": "c"}, "{~: a}": REFUSED, "{[a]: b}": REFUSED,
    "{a: 1, a: 2}": {"a": 2}, "{a: 1, <<: {a: 2, b: 3}}": {"a": 2, "b": 3}, "{<<: [{a: 1}, {a: 2}]}": {"a": 1},
    "{<<: 5}": REFUSED, "[&x 1, *x]": [1, 1], "&a [*a]": REFUSED, "[*b]": REFUSED, "[a:b]": ["a:b"],
    "[null, ~]": [None, None], "[\t5\t]": [5], r'"\ud83d\ude00"': REFUSED, r'"\U0001F600"': "😀", "é": "é", "@a": REFUSED,
    "a: b": REFUSED, "'a": REFUSED, "\x01": REFUSED, "\ufeff": "\ufeff", "|\n  a\n  b": "a\nb\n",
}  # fmt: skip
FILES: dict[str, object] = {
    '{\n\t"a": "😀",\n\t"b": [1.5, 8.0, 1e2]\n}': [{"a": "😀", "b": [1.5, 8, 100]}],
    r'{"a": "\ud83d\ude00 \ud800 \\ud800 \udc00\ud83d"}': [{"a": "😀 \ufffd \\ud800 \ufffd\ufffd"}],
    '{"a": 1}{"a": 2} {"a": 3}': [{"a": 1}, {"a": 2}, {"a": 3}],
    '{"a": 1}\n---\na: 18:00': [{"a": 1}, {"a": "18:00"}],
    "{a: 1}\n---\n{b: 2}": [{"a": 1}, {"b": 2}],
    '{"a": NaN}': REFUSED,
    '{"a": 1e999}': REFUSED,
    '{"a": "\t"}': [{"a": "\t"}],  # not JSON, but YAML
    "a: 1\n--- # the next\n\n---\n# nothing\n---\nb: 2\n": [{"a": 1}, {"b": 2}],
    "a: 1\n---b: 2": REFUSED,
    "--- {a: 1}": REFUSED,
    "a: |\n  x\n---\nb: 2\n...\nc: 3": [{"a": "x\n"}, {"b": 2}],
    "a: 1\r\nb: 2\r\n---\r\nc: 3\r\n": [{"a": 1, "b": 2}, {"c": 3}],
    "%YAML 1.2\n---\na: 1": REFUSED,
    "": [],
    "---\n---\n": [],
}


def read(text: str) -> Any:
    try:
        return documents(text, "file")
    except InvalidSpecError:
        return REFUSED


@pytest.mark.parametrize("text", READ, ids=lambda text: repr(text)[:40])
def test_a_value_is_read_as_kubectl_reads_it(text: str) -> None:
    found, wanted = read(f"a: {text}\n"), READ[text]
    assert found == (REFUSED if wanted == REFUSED else [{"a": wanted}])
    assert isinstance(found, str) or type(found[0]["a"]) is type(wanted)


@pytest.mark.parametrize("text", FILES, ids=lambda text: repr(text)[:40])
def test_a_file_is_read_as_kubectl_reads_it(text: str) -> None:
    assert read(text) == FILES[text]


def bomb(levels: int, first: str, following: str, between: str) -> str:
    """Ten times as much with each level."""
    rows = [f"&a0 {first}"]
    rows += [f"&a{n} {following % ','.join([f'*a{n - 1}'] * 10)}" for n in range(1, levels)]
    return between.join(rows)


HOSTILE = {
    "lists of lists": f"- {{date: 2027-01-01, action: Skip, windows: [{bomb(12, '[x, x]', '[%s]', ', ')}]}}",
    "merges of merges": "- " + bomb(12, "{date: 2027-01-01}", "{<<: [%s]}", "\n- "),
    "mappings of mappings": "- " + bomb(12, "{a: b}", "{a: [%s]}", "\n- "),
    "a long text many times": "- &a [" + "x," * 50_000 + "]\n" + "- *a\n" * 20_000,
    "a merge many times": "- &a {" + ",".join(f"k{n}: 1" for n in range(10_000)) + "}\n" + "- {<<: *a}\n" * 10_000,
    "an alias to a level below": "- " + "\n- ".join(f"&a{n} [[[[*a{n - 1}]]]]" if n else "&a0 x" for n in range(5_000)),
    "brackets": "[" * 200_000,
    "braces": "{" * 200_000,
    "brackets and commas": "[a," * 80_000,
    "dashes": "- " * 100_000,
    "keys": "? " * 100_000,
    "brackets of JSON": '{"a":' * 40_000,
    "brackets of JSON that end": '{"a":' * 500 + "1" + "}" * 500,
    "a name without end": "- &" + "a" * 200_000,
    "digits": "[" + "9" * 200_000 + "]",
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_text_takes_time_and_memory_by_its_length_only(hostile: str) -> None:
    text = HOSTILE[hostile]
    assert len(text) <= EXCEPTIONS_BYTES_MAX
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(InvalidSpecError):
        parse_exceptions(text)
    spent_s, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spent_s < 10, "tracing memory makes it several times slower"
    assert peak < 60 * 2**20


@pytest.mark.parametrize(
    "text", ["[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1), '{"a":' * DEPTH_MAX + "1" + "}" * DEPTH_MAX]
)
def test_what_is_nested_too_deeply_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InvalidSpecError, match="nested deeper than"):
        documents(text, "file")
    assert documents("[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1), "file")


def test_many_documents_of_nothing_are_read_at_once() -> None:
    began = time.process_time()
    assert documents("---\n" * 60_000 + "---\n#\n" * 20_000, "file") == []
    assert time.process_time() - began < 5


def test_a_mistake_in_the_text_is_told_in_one_line_with_its_place() -> None:
    with pytest.raises(InvalidSpecError, match=r"^file: line 3: isn't YAML: [^\n]*$"):
        documents("a: 1\nb: [\n}", "file")
