"""Notebook archives: the habits of their writers, attached files, and archives that are damaged or hostile."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.bronze_core import PROVENANCE
from lab_assets.contracts.bronze_media import ELN_ENTRIES
from lab_assets.sources.base import ArchiveReader, ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import open_archive
from lab_assets.sources.core.markup import plain_text
from lab_assets.sources.standards.eln_crate import ElnCrateReader
from lab_assets.sources.standards.eln_graph import clean_url, id_key
from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.eln_builders import DESCRIPTOR, Node, crate, entry, root

PUBLISHER: Node = {"@id": "#publisher", "@type": "Organization", "name": "Notebook"}


def read(data: bytes, name: str = "export.eln", zone: str = "UTC") -> ReadResult:
    return ElnCrateReader().read(data, ReadContext(file_name=name, zone=zone))


def one(*nodes: Node, **more: Any) -> dict[str, Any]:
    (row,) = read(crate(*nodes, **more)).tables["eln_entries"]
    return row


def rule_of(data: bytes) -> tuple[str, str]:
    try:
        read(data)
    except UnreadableFileError as error:
        return error.rule, error.place
    return "", ""


def file_node(identifier: str, data: bytes, **more: Any) -> Node:
    stated = {"contentSize": str(len(data)), "sha256": hashlib.sha256(data).hexdigest()}
    return {"@id": identifier, "@type": "File", **stated, **more}


def test_rows_carry_exactly_the_columns_of_their_contract() -> None:
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    assert set(one(entry(name="A"))) == set(ELN_ENTRIES.column_names) - engine


def test_only_crates_are_recognised() -> None:
    reader = ElnCrateReader()
    assert isinstance(reader, ArchiveReader)
    data = crate(entry(name="A"))
    assert reader.sniff("x.eln", data[:65536]) == 0
    assert reader.sniff_archive("x.eln", open_archive(data)) == 100
    assert reader.sniff_archive("x.zip", open_archive(data)) == 90
    assert reader.sniff_archive("x.zip", open_archive(crate(entry(name="A"), folder=""))) == 90
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a/b/c/d/ro-crate-metadata.json", "{}")
        archive.writestr("metadata.json", "{}")
    assert reader.sniff_archive("x.eln", open_archive(other.getvalue())) == 0
    assert rule_of(other.getvalue())[0] == "missing_section"


def test_an_entry_with_everything_resolved() -> None:
    """10:32:54 at +02:00 is 08:32:54 in UTC; the person, the comment, the step and the field are nodes of their own."""
    person = {"@id": "person://1?hash_algo=sha256", "@type": "Person", "givenName": "Ada", "familyName": "Byron", "email": "a@b.c"}
    comment = {
        "@id": "#c",
        "@type": "Comment",
        "dateCreated": "2025-09-17T08:00:00Z",
        "text": "it&#39;s fine",
        "author": {"@id": person["@id"]},
    }
    step = {"@id": "#s", "@type": "HowToStep", "creativeWorkStatus": "finished", "itemListElement": {"@id": "#d"}}
    direction = {"@id": "#d", "@type": "HowToDirection", "text": "weigh"}
    field = {"@id": "pv://1", "@type": "PropertyValue", "propertyID": "mass", "value": 12, "unitText": "mg"}
    secret = {"@id": "pv://2", "@type": "PropertyValue", "propertyID": "API token", "value": "hunter2"}
    row = one(
        person,
        comment,
        step,
        direction,
        field,
        secret,
        PUBLISHER,
        entry(
            name="Assay",
            genre="experiment",
            text="<h1>Goal</h1><p>weigh <b>2</b> mg &amp; dissolve, <a href='https://x.org/sop'>SOP</a></p>",
            encodingFormat="text/html",
            author={"@id": person["@id"]},
            dateCreated="2025-09-16T10:32:54+02:00",
            dateModified="2025-09-16T10:37:05+02:00",
            keywords="assay,lot 7 , ",
            comment=[{"@id": "#c"}],
            step=[{"@id": "#s"}],
            variableMeasured=[{"@id": "pv://1"}, {"@id": "pv://2"}],
            mentions=[{"@id": "./b/"}, {"@id": person["@id"]}],
            url="https://u:hunter2@lab.local/experiments.php?mode=view&id=52&token=hunter2",
            creativeWorkStatus="Success",
        ),
        parts=["./a/"],
    )
    assert (row["entry_id"], row["title"], row["entry_type"], row["authors"]) == ("./a/", "Assay", "experiment", ["Ada Byron"])
    assert row["text"] == "Goal\n\nweigh 2 mg & dissolve, SOP"
    assert row["created_at_text"] == "2025-09-16T10:32:54+02:00"
    assert row["created_at_utc"] == datetime(2025, 9, 16, 8, 32, 54, tzinfo=UTC)
    assert row["modified_at_utc"] == datetime(2025, 9, 16, 8, 37, 5, tzinfo=UTC)
    assert row["zone_known"] is True
    assert row["keywords"] == ["assay", "lot 7"]
    assert row["links"] == ["./b/", "https://lab.local/experiments.php?mode=view&id=52", "https://x.org/sop"]
    assert row["software"] == "Notebook"
    assert row["rescued"] == {
        "comment.1": "2025-09-17T08:00:00Z Ada Byron: it's fine",
        "step.1": "finished: weigh",
        "variable.mass": "12 mg",
        "creativeWorkStatus": "Success",
    }
    assert "hunter2" not in repr(row)


@pytest.mark.parametrize(
    ("author", "names"),
    [
        ("Ada Byron", ["Ada Byron"]),
        ({"@type": "Person", "givenName": "Ada", "familyName": "Byron"}, ["Ada Byron"]),
        ([{"@id": "#p"}, {"@id": "#q"}], ["Person P", "q@lab.org"]),
        ({"@id": "https://orcid.org/0000-0003-0930-082X"}, ["https://orcid.org/0000-0003-0930-082X"]),
        (None, []),
    ],
)
def test_authors_nested_referred_to_or_plain(author: object, names: list[str]) -> None:
    persons: list[Node] = [{"@id": "#p", "@type": "Person", "name": "Person P"}, {"@id": "#q", "@type": "Person", "email": "q@lab.org"}]
    assert one(*persons, entry(author=author))["authors"] == names
    assert one(*persons, entry(creator=author))["authors"] == names


@pytest.mark.parametrize(
    ("text", "utc", "known"),
    [
        ("2024-11-18T11:34:36.139180", datetime(2024, 11, 18, 10, 34, 36, 139180, tzinfo=UTC), False),
        ("2022-05-29 16:17:38", datetime(2022, 5, 29, 14, 17, 38, tzinfo=UTC), False),
        ("2022-05-30T12:25:36+0200", datetime(2022, 5, 30, 10, 25, 36, tzinfo=UTC), True),
        ("2026-01-19T14:26:13.865Z", datetime(2026, 1, 19, 14, 26, 13, 865000, tzinfo=UTC), True),
    ],
)
def test_times_with_and_without_a_zone(text: str, utc: datetime, known: bool) -> None:
    (row,) = read(crate(entry(dateCreated=text)), zone="Europe/Berlin").tables["eln_entries"]
    assert (row["created_at_text"], row["created_at_utc"], row["zone_known"]) == (text, utc, known)


def test_a_time_that_cannot_be_read_is_kept_with_a_warning() -> None:
    result = read(crate(entry(dateCreated="05:12:23:11:26:11")))
    row = result.tables["eln_entries"][0]
    assert (row["created_at_text"], row["created_at_utc"], row["zone_known"]) == ("05:12:23:11:26:11", None, False)
    assert "is not a time" in result.warnings[0]


def test_one_time_without_zone_makes_the_zone_unknown() -> None:
    assert one(entry(dateCreated="2025-01-01T00:00:00Z", dateModified="2025-01-01T00:00:00"))["zone_known"] is False


@pytest.mark.parametrize(
    ("keywords", "words"),
    [("a,b c, d", ["a", "b c", "d"]), (["a,1", "b"], ["a,1", "b"]), ("'tag'", ["tag"]), ([{"@id": "#k"}], ["term"]), ([], []), ("", [])],
)
def test_keywords_as_text_list_or_terms(keywords: object, words: list[str]) -> None:
    assert one({"@id": "#k", "@type": "DefinedTerm", "name": "term"}, entry(keywords=keywords))["keywords"] == words


def test_text_of_its_own_node_in_markdown() -> None:
    """Kadi4Mat: the description is a node that states its format."""
    text = {"@id": "#t", "@type": "TextObject", "encodingFormat": "text/markdown", "text": "# Aim\nweigh **2** mg\n\n- a\n- b"}
    row = one(text, entry(description={"@id": "#t"}))
    assert row["text"] == "Aim\n\nweigh 2 mg\n\n- a\n- b"
    assert "description" not in row["rescued"]


def test_description_beside_text_is_rescued() -> None:
    row = one(entry(text="<p>table</p>", description="Mixed for <i>2</i> h."))
    assert (row["text"], row["rescued"]["description"]) == ("table", "Mixed for 2 h.")


def test_nested_entries_comments_as_datasets_and_links_as_datasets() -> None:
    """PASTA nests folders, SciLog writes comments as datasets with files, RSpace links as datasets, eLabFTW mentions of its server."""
    data = crate(
        root("./p/"),
        entry("./p/", name="Project", hasPart=[{"@id": "./p/1/"}, {"@id": "./p/link"}]),
        entry("./p/1/", name="Task", comment=[{"@id": "./c/"}], mentions=[{"@id": "https://lab/x?id=7"}]),
        {"@id": "./p/link", "@type": "Dataset", "identifier": "./p/1/"},
        {"@id": "./c/", "@type": ["Comment", "Dataset"], "text": "<p>look</p>", "hasPart": [{"@id": "./c/x.png"}]},
        {"@id": "https://lab/x?id=7", "@type": "Dataset", "name": "Plasmid"},
        file_node("./c/x.png", b"png"),
        files={"c/x.png": b"png"},
    )
    result = read(data)
    project, task = result.tables["eln_entries"]
    assert (project["entry_id"], project["links"], project["files"]) == ("./p/", ["./p/1/"], [])
    assert (task["entry_id"], task["links"], task["files"]) == ("./p/1/", ["https://lab/x?id=7"], ["export/c/x.png"])
    assert task["rescued"]["comment.1"] == "look"
    assert result.warnings == []


def test_comments_that_only_name_their_parent() -> None:
    comment = {"@id": "#c", "@type": "Comment", "parentItem": {"@id": "./a/"}, "text": "short"}
    assert one(comment, entry(name="A"))["rescued"]["comment.1"] == "short"


@pytest.mark.parametrize(
    ("nodes", "descriptor", "software"),
    [
        ([{"@id": "#publisher", "name": "Kadi4Mat"}], {**DESCRIPTOR, "version": "1.1.2"}, "Kadi4Mat 1.1.2"),
        ([{"@id": "#publisher", "name": "PASTA ELN", "description": "Version 2.6.0"}], DESCRIPTOR, "PASTA ELN 2.6.0"),
        ([{"@id": "#publisher", "name": "SampleDB"}], DESCRIPTOR, "SampleDB"),
        (
            [
                {"@id": "#1", "@type": "CreateAction", "object": {"@id": "./"}, "instrument": {"@id": "#tool"}},
                {"@id": "#2", "@type": "CreateAction", "object": {"@id": "./r.csv"}, "instrument": {"@id": "#other"}},
                {"@id": "#tool", "@type": "SoftwareApplication", "name": "eLabFTW", "version": "5.3.0"},
                {"@id": "#other", "@type": "SoftwareApplication", "name": "Analysis", "version": "9"},
                PUBLISHER,
            ],
            DESCRIPTOR,
            "eLabFTW 5.3.0",
        ),
        ([], {**DESCRIPTOR, "sdPublisher": {"@type": "Organization", "name": "AI4Green"}}, "AI4Green"),
        ([], {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": "./"}, None),
    ],
)
def test_notebook_software(nodes: list[Node], descriptor: Node, software: str | None) -> None:
    assert one(*({"@type": "Organization", **node} for node in nodes), entry(name="A"), descriptor=descriptor)["software"] == software


def test_older_elabftw_fields_are_read_from_their_json() -> None:
    fields = {
        "extra_fields": {"pH": {"type": "number", "value": "7.4"}, "mass": {"value": 2, "unit": "mg"}, "password": {"value": "hunter2"}}
    }
    json_node = {"@type": "PropertyValue", "propertyID": "elabftw_metadata", "value": json.dumps(fields)}
    row = one(entry(variableMeasured=[json_node]))
    assert row["rescued"] == {"variable.pH": "7.4", "variable.mass": "2 mg"}
    again = one(entry(variableMeasured=[json_node, {"@type": "PropertyValue", "propertyID": "pH", "value": "7.4"}]))
    assert again["rescued"] == {"variable.pH": "7.4"}


def test_keys_renamed_or_prefixed_by_the_context() -> None:
    """OpenSemanticLab renames terms, other writers prefix them; a prefix of another vocabulary is no schema.org."""
    node = {"@id": "./a/", "rdf_type": "schema:Dataset", "schema:name": "Prefixed", "has_part": ["./a/x.txt"], "lab:text": "not the body"}
    context = ["https://w3id.org/ro/crate/1.1/context", {"rdf_type": "@type", "has_part": {"@id": "schema:hasPart", "@type": "@id"}}]
    row = one({**node, "@type": "Dataset"}, files={"a/x.txt": b"x"}, context=context)
    assert (row["title"], row["files"], row["text"]) == ("Prefixed", ["export/a/x.txt"], None)
    assert row["rescued"]["lab:text"] == "not the body"


@pytest.mark.parametrize(
    ("identifier", "member"),
    [
        ("./a/x.txt", "a/x.txt"),
        ("a/x.txt", "a/x.txt"),
        ("./a b/x.txt", "a b//x.txt"),
        ("./a%20b/50%25.txt", "a b/50%.txt"),
        ("./a/50%25.txt", "a/50%25.txt"),
        ("./a/M\u00fcller.txt", "a/Mu\u0308ller.txt"),
        ("./a/x.txt", "a\\x.txt"),
    ],
)
def test_files_are_found_however_their_names_are_spelled(identifier: str, member: str) -> None:
    folder = identifier.rpartition("/")[0] + "/"
    data = crate(entry(folder, hasPart=[{"@id": identifier}]), file_node(identifier, b"x"), files={member: b"x"}, parts=[folder])
    result = read(data)
    (only,) = result.members
    assert only.data == b"x"
    assert result.tables["eln_entries"][0]["files"] == [only.name]
    assert "//" not in only.name
    assert result.warnings == []


def test_members_are_every_file_but_those_of_the_crate_itself() -> None:
    files = {
        "ro-crate-preview.html": b"<html>",
        "ro-crate-preview_files/logo.png": b"logo",
        "ro-crate-metadata.json.minisig": b"sig",
        "sha256sums.txt": b"sums",
        "a/.DS_Store": b"clutter",
        "a/ro-crate-preview.html": b"an attachment",
        "a/listed.txt": b"1",
        "a/deep/unlisted.txt": b"2",
    }
    result = read(crate(entry(name="A", hasPart=[{"@id": "./a/listed.txt"}]), file_node("./a/listed.txt", b"1"), files=files))
    assert {member.name: member.data for member in result.members} == {
        "export/a/ro-crate-preview.html": b"an attachment",
        "export/a/listed.txt": b"1",
        "export/a/deep/unlisted.txt": b"2",
    }
    assert result.tables["eln_entries"][0]["files"] == [
        "export/a/listed.txt",
        "export/a/ro-crate-preview.html",
        "export/a/deep/unlisted.txt",
    ]
    assert "2 files are in the archive but not in its metadata" in result.warnings[0]


def test_what_is_said_of_files_is_kept_and_missing_files_are_named() -> None:
    listed = file_node("./a/x.csv", b"1", name="x.csv", description="raw *data*", encodingFormat="text/markdown")
    listed["variableMeasured"] = [{"@type": "PropertyValue", "propertyID": "rate", "value": "2.5", "unitText": "Hz"}]
    parts = [{"@id": "./a/x.csv"}, {"@id": "./a/gone.csv"}]
    result = read(crate(entry(hasPart=parts), listed, {"@id": "./a/gone.csv", "@type": "File"}, files={"a/x.csv": b"1"}))
    row = result.tables["eln_entries"][0]
    assert row["files"] == ["export/a/x.csv"]
    assert (row["rescued"]["file.x.csv"].split("\n")[0], row["rescued"]["file.x.csv.rate"]) == ("raw data", "2.5 Hz")
    assert "gone.csv" in result.warnings[0]


def test_a_file_that_differs_from_what_is_stated_is_refused() -> None:
    good = file_node("./a/x.txt", b"right")
    listing = entry(hasPart=[{"@id": "./a/x.txt"}])
    assert rule_of(crate(listing, good, files={"a/x.txt": b"right"})) == ("", "")
    assert rule_of(crate(listing, good, files={"a/x.txt": b"wrong"})) == ("checksum", "'export/a/x.txt'")
    assert rule_of(crate(listing, {**good, "contentSize": 6}, files={"a/x.txt": b"right"}))[0] == "checksum"
    upper = {**good, "sha256": good["sha256"].upper()}
    assert rule_of(crate(listing, upper, files={"a/x.txt": b"right"})) == ("", "")
    vague = {**good, "contentSize": "5 B", "sha256": good["sha256"][:-1]}
    assert rule_of(crate(listing, vague, files={"a/x.txt": b"wrong"})) == ("", "")


def test_archives_that_are_no_crate() -> None:
    assert rule_of(crate(entry(name="A"))[:-30])[0] == "truncated"
    for text, rule in (("{", "truncated"), ("[1]", "missing_section"), ("{}", "missing_section"), ('{"@graph": {}}', "missing_section")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("x/ro-crate-metadata.json", text)
        assert rule_of(buffer.getvalue())[0] == rule
    assert rule_of(crate({"@id": "./", "@type": "Dataset"}))[0] == "empty"
    deep: object = "x"
    for _ in range(100):
        deep = {"a": deep}
    assert rule_of(crate(entry(name=deep)))[0] == "too_large"


def test_two_files_of_one_name_are_refused() -> None:
    assert rule_of(crate(entry(name="A"), files={"a/x.txt": b"1", "a//x.txt": b"2"})) == ("unsafe_name", "'export/a/x.txt'")


def test_a_crate_without_datasets_below_its_root_is_one_entry() -> None:
    data = crate(
        {"@id": "./", "@type": "Dataset", "name": "Data", "hasPart": [{"@id": "x.csv"}]}, file_node("x.csv", b"1"), files={"x.csv": b"1"}
    )
    (row,) = read(data).tables["eln_entries"]
    assert (row["title"], row["files"]) == ("Data", ["export/x.csv"])


def test_cycles_duplicates_and_missing_descriptor() -> None:
    first = entry("./a/", name="A", text="full", hasPart=[{"@id": "./b/"}])
    data = crate(
        first, {"@id": "./a", "@type": "Dataset", "name": "A"}, entry("./b/", hasPart=[{"@id": "./a/"}, {"@id": "./b/"}]), descriptor=None
    )
    rows = read(data).tables["eln_entries"]
    assert [(row["entry_id"], row["text"], row["source_row"]) for row in rows] == [("./a/", "full", 1), ("./b/", None, 2)]


def test_plain_text_of_markup() -> None:
    """Cells by tabs, items by dashes, scripts silent, preformatted text as it is; text that only looks like markup is kept."""
    html = "<table><tr><th>a</th><td>1</td></tr></table><ul><li><p>x</p></li><li>y</li></ul><pre>p\n  q</pre>z<br>w<script>s()</script>"
    assert plain_text(html).text == "a\t1\n\n- x\n\n- y\n\np\n  q\nz\nw"
    assert plain_text("a < b and c > d").text == "a < b and c > d"
    assert plain_text("<b>x</b>", "text/plain").text == "<b>x</b>"
    assert plain_text("# T\n\n|a|b|\n|-|-|\n|1|2|", "text/markdown").text == "T\n\na\tb\n\n1\t2"
    assert plain_text("<div>" * 50_000 + "end").text.endswith("end")
    assert plain_text("<p>a\x00b</p>").text == "ab"


def test_addresses_and_identifiers() -> None:
    assert clean_url("https://a:b@h.org/p?x=1&password=2#f") == "https://h.org/p?x=1#f"
    assert clean_url("http://[") == ""
    assert [id_key(text) for text in ("./", "./a%20b/", "././a//b", "http://x/y/")] == ["", "a b", "a/b", "http://x/y"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_archives_are_refused_or_read(data: st.DataObject) -> None:
    whole = crate(entry(name="A", hasPart=[{"@id": "./a/x"}], text="<p>t</p>"), file_node("./a/x", b"x" * 50), files={"a/x": b"x" * 50})
    damaged = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    rule_of(bytes(damaged))


@settings(max_examples=150, deadline=None)
@given(
    values=st.dictionaries(
        st.sampled_from(
            [
                "name",
                "text",
                "author",
                "dateCreated",
                "keywords",
                "hasPart",
                "comment",
                "genre",
                "url",
                "variableMeasured",
                "mentions",
                "step",
                "identifier",
                "@id",
            ]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["./a/", "./", "./b", "#p"]),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["@id", "@type", "name", "text", "value"]), inner, max_size=3)
            ),
            max_leaves=8,
        ),
    )
)
def test_any_value_at_any_place_is_read_or_refused(values: Node) -> None:
    nodes: list[Node] = [DESCRIPTOR, root("./a/"), {**entry("./a/"), **values}, {"@id": "#p", "@type": ["Comment"], "parentItem": "./a/"}]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ro-crate-metadata.json", json.dumps({"@graph": nodes}))
    rule_of(buffer.getvalue())


@needs_samples
def test_real_elabftw_export() -> None:
    """Twelve entries and two attachments of the writer's own demonstration; its members have a doubled slash in their names."""
    folder = samples_dir()
    assert folder is not None
    result = read((folder / "eln/elabftw/export.eln").read_bytes())
    rows = {row["title"]: row for row in result.tables["eln_entries"]}
    assert len(rows) == 12
    gold = rows["Gold master experiment"]
    assert gold["authors"] == ["Nicola Mohr"]
    assert gold["software"] == "eLabFTW 5.3.0-alpha6"
    assert gold["text"].startswith("Level 1 title\n\nLevel 2 title\n\nThe goal of this experiment")
    assert gold["files"] == ["2025-09-16-103731-export/Demo - Gold-master-experiment - 4af4da4e/example.jpg"]
    assert len(gold["links"]) == 5
    assert [(member.name.rpartition("/")[2], len(member.data)) for member in result.members] == [
        ("example.jpg", 85530),
        ("autesse.json", 21),
    ]
    assert result.warnings == []


@needs_samples
def test_real_kadi4mat_export() -> None:
    folder = samples_dir()
    assert folder is not None
    result = read((folder / "eln/kadi4mat/records-example.eln").read_bytes())
    (row,) = result.tables["eln_entries"]
    assert (row["title"], row["text"], row["authors"], row["keywords"]) == (
        "records-example",
        "This is a sample record.",
        ["Manideep"],
        ["sample"],
    )
    assert row["created_at_utc"] == datetime(2022, 10, 10, 10, 6, 11, 191752, tzinfo=UTC)
    assert row["software"] == "Kadi4Mat 1.1.2"
    assert row["rescued"]["variable.Tools Used.1"] == "Flat specimen holder"
    assert len(result.members) == len(row["files"]) == 4
