"""YAML with places: where values are from, what is included, and what is refused."""

from __future__ import annotations

import pytest

from rs.yamlfile import Item, YamlReader


def read(tmp_path, files: dict[str, str], **env: str) -> tuple[Item | None, list[str]]:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    reader = YamlReader(env)
    found = reader.read(tmp_path / next(iter(files)))
    return found, [fault.replace(f"{tmp_path}/", "") for fault in reader.faults]


def plain(item: Item):
    if isinstance(item.value, dict):
        return {name: plain(one) for name, one in item.value.items()}
    return [plain(one) for one in item.value] if isinstance(item.value, list) else item.value


def good(tmp_path, text: str, **env: str):
    item, faults = read(tmp_path, {"a.yml": text}, **env)
    assert faults == []
    return plain(item)


def test_scalars_stay_as_they_are_written(tmp_path):
    assert good(tmp_path, 'a: 65501:10\nb: no\nc: 010\nd: "~"\ne: ~\nf:\n') == {
        "a": "65501:10", "b": "no", "c": "010", "d": "~", "e": None, "f": None,
    }  # fmt: skip


def test_places(tmp_path):
    item, _ = read(tmp_path, {"a.yml": "a:\n  - b: 1\n  -\n    c:\n      d: 2\n"})
    second = item.value["a"].value[1].value["c"].value["d"]
    assert (second.place.line, second.place.key) == (5, "a[1].c.d")
    assert item.value["a"].place.line == 1
    assert str(second.place) == f"{tmp_path}/a.yml: a[1].c.d (line 5)"


def test_included_lines_keep_their_own_places(tmp_path):
    item, faults = read(
        tmp_path,
        {
            "a.yml": "a:\n  b: 1\n  !include 'c.yml'\n  d: 2\n",
            "c.yml": "# in the middle\n  e: 3\n  !include f.yml\n",
            "f.yml": "\n  g: 4\n",
        },
    )
    assert faults == []
    assert plain(item) == {"a": {"b": "1", "e": "3", "g": "4", "d": "2"}}
    places = {name: one.place.short for name, one in item.value["a"].value.items()}
    assert places == {"b": "a.yml:2", "e": "c.yml:2", "g": "f.yml:2", "d": "a.yml:4"}


def test_a_file_as_a_value(tmp_path):
    item, faults = read(tmp_path, {"a.yml": "a: !include b.yml\n", "b.yml": "- 1\n- c: 2\n"})
    assert faults == []
    assert plain(item) == {"a": ["1", {"c": "2"}]}
    assert str(item.value["a"].value[1].value["c"].place) == f"{tmp_path}/b.yml: a[1].c (line 2)"


def test_environment(tmp_path):
    assert good(tmp_path, "a: ${X}\n# ${Y}\nb: $X\n", X="1") == {"a": "1", "b": "$X"}


def test_anchors_and_merge(tmp_path):
    text = "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n"
    assert good(tmp_path, text)["b"] == {"x": "1", "y": "3"}


FAULTS = [
    ({"a.yml": "a: 1\na: 2\n"}, "a.yml: a (line 2): is there twice; first in line 1"),
    ({"a.yml": "a:\n  b: [1\nc: 2\n"}, "a.yml: line 3: not YAML: "),
    ({"a.yml": "a: ${NOT_THERE}\n"}, "a.yml: line 1: ${NOT_THERE}: no such environment variable"),
    ({"a.yml": "\n!include no.yml\n"}, "a.yml: line 2: no.yml: No such file"),
    ({"a.yml": "a: !include no.yml\n"}, "a.yml: a (line 1): no.yml: No such file"),
    ({"a.yml": "!include b.yml\n", "b.yml": "!include a.yml\n"}, "b.yml: line 1: a.yml includes itself"),
    ({"a.yml": "a: !include a.yml\n"}, "a.yml: a.a."),
    ({"a.yml": "a: &a [*a]\n"}, "nested too deeply"),
    ({"a.yml": "[1, 2]: 3\n"}, "a.yml:  (line 1): a key that is no word"),
    ({"a.yml": "a: {<<: 3}\n"}, "<< wants a mapping"),
    ({"a.yml": "a: b\n---\nc: d\n"}, "a.yml: line 2: not YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "words"), FAULTS, ids=[words for _, words in FAULTS])
def test_faults_name_file_and_line(tmp_path, files, words):
    item, faults = read(tmp_path, files)
    assert words in faults[0]
    assert len(faults) == 1
    assert item is None or "NOT_THERE" in words


def test_an_alias_of_an_alias_does_not_fill_the_memory(tmp_path):
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    (tmp_path / "a.yml").write_text(text)
    reader = YamlReader({})
    import rs.yamlfile

    before, rs.yamlfile.MAX_ITEMS = rs.yamlfile.MAX_ITEMS, 10_000
    try:
        assert reader.read(tmp_path / "a.yml") is None
    finally:
        rs.yamlfile.MAX_ITEMS = before
    assert "too many values" in reader.faults[0]


def test_not_text(tmp_path):
    (tmp_path / "a.yml").write_bytes(b"a: \xff\n")
    reader = YamlReader({})
    assert reader.read(tmp_path / "a.yml") is None
    assert reader.faults == [f"{tmp_path}/a.yml: not UTF-8 text"]
