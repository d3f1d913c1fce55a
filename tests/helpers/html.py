"""A page as a browser takes it apart: elements, headings, and tables by section and heading."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "br", "img"})


class Page(HTMLParser):
    """Elements with attributes, ids, references, headings; text and tables of each section.

    ``texts[title]`` is the text of a section (``""`` for what stands before the first),
    ``tables[title]`` its tables: each a list of rows, text by heading. ``kinds`` holds the classes
    of the cells likewise. ``problems`` is what a well-formed page has none of.
    """

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.ids, self.links, self.headings = [], [], [], [], []
        self.problems, self.texts, self.tables, self.kinds = [], {"": ""}, {"": []}, {"": []}
        self._section, self._row, self._heads, self._cell = "", None, [], None
        self.feed(text)
        self.close()

    @property
    def tags(self):
        return [tag for tag, _ in self.elements]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href"):
                self.links.append(value)
            if name.startswith("on"):
                self.problems.append(f"{tag} has {name}")
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append([tag, ""])
        if tag == "table":
            self.tables[self._section].append([])
            self.kinds[self._section].append([])
            self._heads = []
        if tag == "tr":
            self._row = []
        if tag in ("th", "td"):
            self._cell = ["", dict(attrs).get("class") or ""]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")
        if tag == "h2":
            self._section = self.headings[-1][1]
            for held in (self.tables, self.kinds):
                held[self._section] = []
            self.texts[self._section] = ""
        if tag in ("th", "td"):
            self._row.append(self._cell)
            self._cell = None
        if tag == "tr":
            self._end_row()

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings[-1][1] += data
        if self._cell is not None:
            self._cell[0] += f" {data}" if self._cell[0] else data
        if "style" not in self.open:
            self.texts[self._section] += f"{data} "

    def _end_row(self):
        texts = [" ".join(text.split()) for text, _ in self._row]
        if "thead" in self.open:
            self._heads = texts
            return
        self.tables[self._section][-1].append(dict(zip(self._heads, texts, strict=True)))
        kinds = [kind.split() for _, kind in self._row]
        self.kinds[self._section][-1].append(dict(zip(self._heads, kinds, strict=True)))
