"""A self-contained HTML page: text, tables and pictures become one file that refers to nothing outside it.

Everything given as text is escaped, including characters that would act on the page.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape as escape_tags
from string import Template

import matplotlib as mpl
from matplotlib.figure import Figure

from dml.errors import printable

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<header><h1>$title</h1>
<p>$subtitle</p>
$lead</header>
<nav aria-label="Sections"><ul>
$links
</ul></nav>
<main>
$sections
</main>
</body>
</html>
""")

_STYLE = """:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #595959; --line: #d0d0d0; --paper: #ffffff;
  --tint: #f4f4f2; --accent: #0072B2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e6; --soft: #b0b0ae; --line: #4a4a4a; --paper: #1b1c1e; --tint: #27282b; --accent: #56B4E9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 2rem; max-width: 120rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); }
header p, figcaption, .note, th small { color: var(--soft); }
header p.lead { max-width: 80rem; margin: .8rem 0; font-size: 1.25rem; color: var(--ink); }
p { max-width: 60rem; }
th small { display: block; min-width: min(22rem, 50vw); max-width: 46rem; font-weight: normal; }
.side-by-side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(32rem, 100%), 1fr)); gap: 0 2rem;
  align-items: start; }
.note { border-left: 4px solid var(--accent); padding: .2rem .8rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; list-style: none; }
a { color: var(--accent); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
.scroll { overflow-x: auto; }
th, td { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: break-word; }
td { max-width: 32rem; }
td.number { text-align: right; white-space: nowrap; }
th.number { text-align: right; max-width: 10rem; }
figure { margin: 1rem 0; }
.side-by-side > figure > img { width: 100%; max-width: 60rem; }
img { max-width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
img.thumbnail { width: 72px; height: 72px; object-fit: contain; image-rendering: pixelated;
  border: 1px solid var(--line); }
pre { background: var(--tint); padding: .8rem; overflow-x: auto; font-size: .85rem; line-height: 1.35; }
code { background: var(--tint); padding: 0 .25rem; overflow-wrap: anywhere; }
@media print {
  :root { --ink: #000; --soft: #333; --line: #999; --paper: #fff; --tint: #fff; --accent: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  img.thumbnail { width: 40px; height: 40px; }
  details > pre { font-size: 7pt; white-space: pre-wrap; }
}
"""


def page(title: str, subtitle: str, sections: Mapping[str, Sequence[str]], lead: str = "") -> str:
    """Return the page.

    Args:
        title: Its title, as text.
        subtitle: One line below it, as text.
        sections: By heading: pieces of HTML as the functions below make them.
        lead: What the page says in a sentence or two, as text; it comes before all sections.

    Example:
        >>> "<h2>Scores</h2>" in page("first", "a run", {"Scores": [paragraph("none")]})
        True
    """
    names = {f"section-{number}": heading for number, heading in enumerate(sections, 1)}
    links = "\n".join(f'<li><a href="#{name}">{escape(heading)}</a></li>' for name, heading in names.items())
    bodies = [
        f'<section id="{name}">\n<h2>{escape(heading)}</h2>\n' + "\n".join(sections[heading]) + "\n</section>"
        for name, heading in names.items()
    ]
    return _PAGE.substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        lead=f'<p class="lead">{_with_code(lead)}</p>\n' if lead else "",
        style=_STYLE,
        links=links,
        sections="\n".join(bodies),
    )


def escape(text: str) -> str:
    r"""Return text as HTML that shows it: no tags, no control characters, no overrides of the direction of writing.

    Example:
        >>> escape("<b>\u202e\x1b")
        '&lt;b&gt;\\u202e\\x1b'
    """
    return escape_tags(printable(text, lines=True))


def paragraph(text: str) -> str:
    """Return a paragraph; what is between backticks is code.

    Example:
        >>> paragraph("run `dml fit` & see")
        '<p>run <code>dml fit</code> &amp; see</p>'
    """
    return f"<p>{_with_code(text)}</p>"


def note(text: str) -> str:
    """Return a paragraph that says what is missing; what is between backticks is code.

    Example:
        >>> note("no pictures")
        '<p class="note">no pictures</p>'
    """
    return f'<p class="note">{_with_code(text)}</p>'


def folded(summary: str, text: str) -> str:
    """Return text that keeps its lines and can be folded away.

    Example:
        >>> folded("recipe", "a: <b>")
        '<details open><summary>recipe</summary><pre>a: &lt;b&gt;</pre></details>'
    """
    return f"<details open><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = True) -> str:
    """Return a table; pieces made by `thumbnail` are kept as they are, all else is text.

    Args:
        head: Column titles; empty for a table without.
        rows: Cells.
        numbers: Whether all columns but the first hold numbers, which are right-aligned.

    Example:
        >>> table([], [["seed", "0"]])
        '<div class="scroll"><table><tr><th scope="row">seed</th><td class="number">0</td></tr></table></div>'
    """
    kind = ' class="number"' if numbers else ""
    lines = []
    if head:
        cells = "".join(f'<th scope="col"{kind if at else ""}>{escape(text)}</th>' for at, text in enumerate(head))
        lines.append(f"<tr>{cells}</tr>")
    for first, *others in rows:
        cells = "".join(f"<td{kind}>{_cell(text)}</td>" for text in others)
        lines.append(f'<tr><th scope="row">{_cell(first)}</th>{cells}</tr>')
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def drawing(figure: Figure, caption: str) -> str:
    """Return a matplotlib figure as a picture that stays sharp at any size.

    Args:
        figure: The figure.
        caption: What it shows; also the text for readers who cannot see the picture.

    Example:
        >>> drawing(Figure(), "nothing")[:41]
        '<figure><img src="data:image/svg+xml;base'
    """
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "dml"}):  # equal figures give equal pages
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _figure(buffer.getvalue(), "image/svg+xml", caption)


def picture(content: bytes, caption: str) -> str:
    """Return a PNG file's bytes as a picture with a caption.

    Example:
        >>> picture(b"", "nothing")
        '<figure><img src="data:image/png;base64," alt="nothing"><figcaption>nothing</figcaption></figure>'
    """
    return _figure(content, "image/png", caption)


def side_by_side(pieces: Sequence[str]) -> str:
    """Return pieces side by side, as many as the window has room for.

    Example:
        >>> side_by_side(["<p>a</p>", "<p>b</p>"])
        '<div class="side-by-side"><p>a</p><p>b</p></div>'
    """
    return f'<div class="side-by-side">{"".join(pieces)}</div>'


class Thumbnail(str):
    """HTML of a small picture or of an explained name, which a table cell takes as it is."""


def explained(name: str, meaning: str) -> Thumbnail:
    """Return a name with a line below it that says what it means; "" says nothing.

    Example:
        >>> explained("mrr", "mean of 1/rank")
        'mrr<small>mean of 1/rank</small>'
    """
    return Thumbnail(escape(name) + (f"<small>{escape(meaning)}</small>" if meaning else ""))


def thumbnail(content: bytes, name: str) -> Thumbnail:
    """Return a PNG file's bytes as a small picture.

    Example:
        >>> thumbnail(b"", "<b>")
        '<img class="thumbnail" src="data:image/png;base64," alt="&lt;b&gt;">'
    """
    return Thumbnail(f'<img class="thumbnail" src="{_data(content, "image/png")}" alt="{escape(name)}">')


def _cell(text: str) -> str:
    return text if isinstance(text, Thumbnail) else escape(text)


def _figure(content: bytes, kind: str, caption: str) -> str:
    said = escape(caption)
    return f'<figure><img src="{_data(content, kind)}" alt="{said}"><figcaption>{said}</figcaption></figure>'


def _data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _with_code(text: str) -> str:
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))
