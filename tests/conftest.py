"""What tests of several rooms share."""

from html.parser import HTMLParser

import pytest

collect_ignore_glob = ["fuzz_*.py"]  # scripts

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Reader(HTMLParser):
    """Checks that tags are closed in order; keeps tags, attributes and text."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.links, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "srcset", "action", "data"}]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _read(text):
    """Return the parsed page; fails where a tag is not closed or an address leads outside."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    assert [link for link in reader.links if not link.startswith(("data:image/", "#"))] == []
    return reader


@pytest.fixture(scope="session")
def read_page():
    """Return a callable that parses a page and fails where it is malformed or refers to anything outside."""
    return _read
